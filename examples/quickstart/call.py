"""Call the task and wait for its result; a worker must run, or be started later: the call is kept in the file."""

from tasks import add

result = add.delay(2, 3)
print(f"enqueued {result.id}")
print(f"2 + 3 = {result.get(timeout=60)}")
