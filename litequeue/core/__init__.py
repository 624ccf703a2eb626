"""Pure building blocks: records, clock, ids, payloads, routing, backoff. Imports nothing of litequeue outside this folder."""
