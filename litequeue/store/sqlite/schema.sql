-- A queue in one file.
--
-- A task is one row of litequeue_tasks for its whole life. `state` says where it stands, and every move is one guarded
-- UPDATE: it names the state it comes from and, once the row is claimed, the holder and the attempt, so that a late
-- process changes nothing. Rows are never copied between tables; what must be found fast has a partial index over just
-- the rows in that state, so the cost of a claim does not grow with the history or with what waits for a later time.
--
--   enqueue   a row, `ready` or `scheduled`
--   claim     ready -> running; holder, attempt and worker are set
--   settle    running -> succeeded | failed | revoked | ignored, or back to scheduled/ready for a retry
--   release   running -> ready, for a claim that was not started; waiting -> ready, when what a row waits for has ended
--   bury      running -> ready or failed, for what a dead process held
--   prune     the row is deleted after its retention
--
-- Names begin with litequeue_ so that a queue can share a file with other tables. The version of this schema is a row of
-- litequeue_meta, not the file's user_version, for the same reason. Times are Unix seconds.

CREATE TABLE litequeue_meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value ANY
) STRICT, WITHOUT ROWID;
INSERT INTO litequeue_meta (key, value) VALUES ('gates', 0); -- grows with every change of what a claimer keeps in memory

CREATE TABLE litequeue_tasks (
    seq                INTEGER PRIMARY KEY,      -- order of arrival: first in, first out within a priority
    id                 TEXT    NOT NULL UNIQUE,  -- made by the client; UUIDv7, so the index grows at its end
    name               TEXT    NOT NULL,
    queue              TEXT    NOT NULL,
    lane               TEXT    NOT NULL,         -- where claimers look: the queue; or queue TAB name, for a name that a
                                                 -- claimer does not know, or that is paused or limited; or US key US
                                                 -- queue TAB name, for a row that waits for its concurrency key
                                                 -- (US: unit separator, 31)
    priority           INTEGER NOT NULL,         -- 0 to 255, higher first
    state              TEXT    NOT NULL,         -- waiting scheduled ready running succeeded failed revoked ignored
    custom_state       TEXT,                     -- what update_state shows until the next move
    payload            ANY     NOT NULL,         -- [args, kwargs]: TEXT where the serializer gives text, else BLOB
    serializer         TEXT    NOT NULL,
    compression        TEXT,
    run_at             REAL,
    expires_at         REAL,
    ignore_result      INTEGER NOT NULL,         -- 1: keep no result; 2: delete the row when it ends (forgotten)
    retries            INTEGER NOT NULL,
    time_limit         REAL,
    soft_time_limit    REAL,
    root_id            TEXT,
    parent_id          TEXT,
    group_id           TEXT,
    group_index        INTEGER,
    origin             TEXT,                     -- the node that enqueued it
    reply_port         INTEGER,                  -- UDP port of a client that may wait for the end
    headers            TEXT,                     -- the caller's own headers, JSON
    options            TEXT,                     -- what no query needs, JSON
    enqueued_at        REAL    NOT NULL,
    attempt            INTEGER NOT NULL DEFAULT 0,
    deaths             INTEGER NOT NULL DEFAULT 0,
    at_most_once       INTEGER NOT NULL DEFAULT 0, -- acks_late=False, as the claimer declared it
    holder             INTEGER,                  -- litequeue_processes.id
    worker             TEXT,
    pid                INTEGER,
    started_at         REAL,
    finished_at        REAL,
    prune_at           REAL,                     -- when a finished row may be deleted; NULL: never
    result             ANY,                      -- the value of a success, else the error record
    result_serializer  TEXT,
    result_compression TEXT,
    traceback          TEXT,
    after              TEXT,                     -- the task or group that it waits for, or waited for
    edge               TEXT,                     -- how it hangs on that: then link body error queue
    takes_input        INTEGER NOT NULL DEFAULT 0, -- 1: the value of `after` is put before its arguments
    countdown          REAL,                     -- seconds from its release to its start
    lifetime           REAL,                     -- seconds from its release to its expiry
    ties               INTEGER NOT NULL DEFAULT 0, -- what its end does: bits of core.ties
    errbacks           TEXT,                     -- its error callbacks, JSON
    stamps             TEXT,                     -- JSON object, header: value or values
    schedule           TEXT,                     -- the entry of the schedule that it is a run of
    due_at             REAL,                     -- the instant that this run stands for
    cancel             TEXT,                     -- a revoke that came while it ran: the signal to kill it with, or empty
    concurrency_key    TEXT,                     -- of the rows with this key only concurrency_limit run at once
    concurrency_limit  INTEGER,
    unique_key         TEXT,                     -- no other row has it
    unique_hold        INTEGER,                  -- in which states it holds that key: bits of core.keys
    unique_until       REAL                      -- and until when; NULL: no matter how long
) STRICT;

-- claim: the next row of a lane
CREATE INDEX litequeue_tasks_ready ON litequeue_tasks (lane, priority DESC, seq) WHERE state = 'ready';
-- claim: what is due
CREATE INDEX litequeue_tasks_scheduled ON litequeue_tasks (run_at, queue) WHERE state = 'scheduled';
-- bury: what a process holds
CREATE INDEX litequeue_tasks_running ON litequeue_tasks (holder) WHERE state = 'running';
-- prune: what expired before it started
CREATE INDEX litequeue_tasks_expiring ON litequeue_tasks (expires_at)
    WHERE expires_at IS NOT NULL AND state IN ('waiting', 'scheduled', 'ready');
-- prune: what is past its retention
CREATE INDEX litequeue_tasks_prunable ON litequeue_tasks (prune_at) WHERE prune_at IS NOT NULL;
-- AsyncResult.children
CREATE INDEX litequeue_tasks_children ON litequeue_tasks (parent_id) WHERE parent_id IS NOT NULL;
-- settle: what waits for a task or a group; prune: what still needs it
CREATE INDEX litequeue_tasks_after ON litequeue_tasks (after) WHERE after IS NOT NULL;
-- prune: the members that show the error of a task that failed before them
CREATE INDEX litequeue_tasks_told ON litequeue_tasks (result) WHERE result_serializer = 'upstream' AND ties & 4;
-- inputs: the values of a group, in the order of their slots
CREATE INDEX litequeue_tasks_group ON litequeue_tasks (group_id, group_index) WHERE group_id IS NOT NULL;
-- fire: an instant of an entry is one row; by the instant first, so that the index grows at its end
CREATE UNIQUE INDEX litequeue_tasks_runs ON litequeue_tasks (due_at, schedule) WHERE schedule IS NOT NULL;
-- fire: the runs that have not ended, of entries whose runs do not overlap
CREATE INDEX litequeue_tasks_unfinished_runs ON litequeue_tasks (schedule, seq)
    WHERE ties & 32 AND state IN ('waiting', 'scheduled', 'ready', 'running');
-- claim: how many of a concurrency key run
CREATE INDEX litequeue_tasks_keyed ON litequeue_tasks (concurrency_key)
    WHERE concurrency_key IS NOT NULL AND state = 'running';
-- enqueue: a unique key is held once; one that its row does not hold any more is taken from it by the next that wants it
CREATE UNIQUE INDEX litequeue_tasks_unique ON litequeue_tasks (unique_key) WHERE unique_key IS NOT NULL;
-- dead letters; how many a queue has
CREATE INDEX litequeue_tasks_failed ON litequeue_tasks (seq, queue) WHERE state = 'failed';
-- how many of a queue wait for other tasks
CREATE INDEX litequeue_tasks_waiting ON litequeue_tasks (queue) WHERE state = 'waiting';

-- Groups count their members that have not ended; when none is left, what waits for the group is released.
CREATE TABLE litequeue_groups (
    id          TEXT    NOT NULL PRIMARY KEY,
    size        INTEGER NOT NULL,
    remaining   INTEGER NOT NULL,
    failed_id   TEXT,                            -- the task whose failure was the first among its members'
    tolerant    INTEGER NOT NULL,                -- 1: what waits for it runs also when members failed
    transient   INTEGER NOT NULL DEFAULT 0,      -- 1: a member wants no result; its value is dropped after use
    group_id    TEXT,                            -- the outer group that it is one part of
    group_index INTEGER,
    after       TEXT,                            -- the node that its members wait for
    root_id     TEXT,
    parent_id   TEXT,
    created_at  REAL    NOT NULL,
    finished_at REAL,
    prune_at    REAL
) STRICT, WITHOUT ROWID;

CREATE INDEX litequeue_groups_after ON litequeue_groups (after) WHERE after IS NOT NULL;
CREATE INDEX litequeue_groups_parts ON litequeue_groups (group_id, group_index) WHERE group_id IS NOT NULL;
CREATE INDEX litequeue_groups_prunable ON litequeue_groups (prune_at) WHERE prune_at IS NOT NULL;

-- The stamps of tasks, so that they can be found, and the stamps whose tasks are revoked when they are enqueued.
CREATE TABLE litequeue_stamps (
    header TEXT    NOT NULL,
    value  TEXT    NOT NULL,                     -- JSON
    seq    INTEGER NOT NULL,
    PRIMARY KEY (header, value, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX litequeue_stamps_tasks ON litequeue_stamps (seq);

CREATE TABLE litequeue_revoked_stamps (
    header     TEXT NOT NULL,
    value      TEXT NOT NULL,                    -- JSON
    revoked_at REAL NOT NULL,
    PRIMARY KEY (header, value)
) STRICT, WITHOUT ROWID;

-- The attempts that did not succeed, one row each: nothing that went wrong is overwritten.
CREATE TABLE litequeue_attempts (
    seq         INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    outcome     TEXT    NOT NULL,                -- failed retry requeued lost
    error       TEXT    NOT NULL,                -- the error record, JSON
    traceback   TEXT,
    worker      TEXT,
    started_at  REAL,
    finished_at REAL    NOT NULL,
    PRIMARY KEY (seq, attempt)
) STRICT, WITHOUT ROWID;

-- The lanes that exist beside the queues' own. What a claimer must know of these, of pauses, of limits, and of the queues
-- of its process, it keeps in memory as long as the row `gates` of litequeue_meta stays the same.
CREATE TABLE litequeue_lanes (
    queue TEXT NOT NULL,
    name  TEXT NOT NULL,
    PRIMARY KEY (queue, name)
) STRICT, WITHOUT ROWID;

-- Queues and task names whose rows are not claimed.
CREATE TABLE litequeue_pauses (
    kind      TEXT NOT NULL,                     -- queue task
    name      TEXT NOT NULL,
    paused_at REAL NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- The limits of task names.
CREATE TABLE litequeue_limits (
    name            TEXT    NOT NULL PRIMARY KEY,
    declared_rate   TEXT,                        -- 10/m, as the code of a worker says
    rate            TEXT,                        -- as it was set at run time: comes first; 0: no limit
    time_limit      REAL,                        -- set at run time: come before those of the row; 0: none
    soft_time_limit REAL,
    due_at          REAL    NOT NULL DEFAULT 0,  -- when the next start would be, were they spaced evenly
    starts          INTEGER NOT NULL DEFAULT 0   -- how many there were
) STRICT, WITHOUT ROWID;

-- When the last starts of a rate-limited name were: as many as its limit allows in a period, in a ring.
CREATE TABLE litequeue_starts (
    name       TEXT    NOT NULL,
    slot       INTEGER NOT NULL,
    started_at REAL    NOT NULL,
    PRIMARY KEY (name, slot)
) STRICT, WITHOUT ROWID;

-- What workers are told, and what they answer. Numbers are never given twice.
CREATE TABLE litequeue_commands (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL,
    arguments   TEXT    NOT NULL,                -- JSON object
    destination TEXT,                            -- JSON array of node names; NULL: every worker
    reply_port  INTEGER,                         -- UDP port of the client that waits for answers
    sent_at     REAL    NOT NULL,
    expires_at  REAL    NOT NULL                 -- not carried out after this, and deleted
) STRICT;

CREATE TABLE litequeue_replies (
    command    INTEGER NOT NULL,
    process    INTEGER NOT NULL,                 -- litequeue_processes.id of the worker
    worker     TEXT    NOT NULL,
    reply      TEXT    NOT NULL,                 -- JSON
    replied_at REAL    NOT NULL,
    PRIMARY KEY (command, process)
) STRICT, WITHOUT ROWID;

-- The entries of the schedule. `next_instant` is what makes an instant fire once: who fires it moves the entry on.
CREATE TABLE litequeue_schedules (
    name            TEXT    NOT NULL PRIMARY KEY,
    schedule        TEXT    NOT NULL,            -- when, JSON
    call            TEXT    NOT NULL,            -- what, JSON
    owner           TEXT,                        -- the app whose code declares it
    enabled         INTEGER NOT NULL,
    timezone        TEXT,
    catchup         TEXT    NOT NULL,            -- none last all
    catchup_window  REAL,
    overlap         TEXT    NOT NULL,            -- allow skip queue
    jitter          REAL    NOT NULL,
    start_at        REAL,
    end_at          REAL,
    max_runs        INTEGER,
    anchor          REAL    NOT NULL,            -- from when an interval counts
    next_instant    REAL,                        -- due next; NULL: never again
    next_at         REAL,                        -- when that is fired, jitter included
    revision        INTEGER NOT NULL DEFAULT 0,
    last_run_at     REAL,
    total_run_count INTEGER NOT NULL DEFAULT 0,
    skipped         INTEGER NOT NULL DEFAULT 0,
    error           TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX litequeue_schedules_due ON litequeue_schedules (next_at) WHERE enabled;

-- Every process that may hold a claim, and the supervisor of each worker. Numbers are never given twice.
CREATE TABLE litequeue_processes (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    worker       TEXT    NOT NULL,               -- node name, celery@host
    role         TEXT    NOT NULL,               -- worker, child, control, beat
    parent       INTEGER,
    host         TEXT    NOT NULL,
    boot         TEXT    NOT NULL,
    namespace    TEXT    NOT NULL,
    pid          INTEGER NOT NULL,
    started      TEXT    NOT NULL,
    port         INTEGER,                        -- UDP port that wakes an idle slot of the worker
    queues       TEXT    NOT NULL,               -- JSON array
    queues_set   INTEGER NOT NULL DEFAULT 0,     -- 1: other ones than it registered with were set at run time
    idle         INTEGER NOT NULL DEFAULT 0,     -- slots that wait for work
    started_at   REAL    NOT NULL,
    heartbeat_at REAL    NOT NULL,
    info         TEXT    NOT NULL,               -- JSON object
    events       INTEGER NOT NULL DEFAULT 0      -- 1: what it and its children do is written into the journal
) STRICT;

-- What happened to the tasks of each queue, in periods of ten seconds; an hour is kept. About: what a process has counted
-- in the last half second before it was killed is not in it.
CREATE TABLE litequeue_stats (
    at        INTEGER NOT NULL,                  -- when the period began
    queue     TEXT    NOT NULL,
    started   INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    retried   INTEGER NOT NULL,
    timed     INTEGER NOT NULL,                  -- of those that started, how many are in `waited`
    waited    REAL    NOT NULL,                  -- the seconds from when they could start to when they did
    PRIMARY KEY (at, queue)
) STRICT, WITHOUT ROWID;

-- The journal: one row for all events of a transaction. The numbers of its events are number, number + 1, ..., so they
-- have no gaps and are in the order of the commits. The newest row is never pruned: no number is given twice.
CREATE TABLE litequeue_events (
    number INTEGER PRIMARY KEY,                  -- of its first event
    size   INTEGER NOT NULL,                     -- how many events it has
    at     REAL    NOT NULL,
    worker TEXT,
    moves  TEXT    NOT NULL                      -- JSON array; core.journal has its form
) STRICT;

-- What tasks logged, where that is kept: the newest lines of each.
CREATE TABLE litequeue_logs (
    seq     INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    at      REAL    NOT NULL,
    level   INTEGER NOT NULL,
    logger  TEXT    NOT NULL,
    message TEXT    NOT NULL,
    PRIMARY KEY (seq, number)
) STRICT, WITHOUT ROWID;
