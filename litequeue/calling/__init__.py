"""From a call to a row: options, retries, calls run in place, and many calls in one transaction."""
