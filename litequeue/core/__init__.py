"""Pure building blocks: records, clock, ids, payloads, routing, backoff. Imports nothing of ours but exceptions."""
