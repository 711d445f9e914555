-- phase: expand
-- How often autovacuum visits each table, and what statements cost when an operator last called it good
-- (docs/guide/upkeep.md). Partitions get theirs when they are made (src/upkeep/storage.rs): a partitioned parent has
-- no storage.
--
-- Defaults suit tables of which a fifth is garbage before it matters. Ours are either one row that every commit updates,
-- or millions of rows under compare-and-set, or only ever appended to. Everything not named here keeps the defaults.
-- Nowhere may a visit end with cutting off empty pages: that takes the lock for which every commit would wait, and the
-- pages are filled again at once.
--
-- The runner sets the lock timeout; SET of storage parameters blocks neither readers nor writers.
-- squawk-ignore-file prefer-robust-stmts, require-timeout-settings

-- One row, one new version of it per commit: thousands between two visits. They are pruned in place unless somebody's
-- old snapshot holds them, and then a visit has to come soon after it is gone: by count, not by a share of one row.
-- Two or three pages need no throttle. Statistics of one row never change, and each ANALYZE would make the committer plan
-- its statement again: the threshold is the largest there is.
ALTER TABLE nephkeep.log_head SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 2147483647,
    vacuum_truncate = false
);

-- Current state under compare-and-set. Most updates stay on their page and are pruned there, but a document of more than
-- about 2 kB lies in the side table, where every update leaves dead chunks: at 8,000 updates a second and a million rows
-- the default fifth is half a minute of garbage in a table that then stays that much larger. A fiftieth is 20,000 rows of a
-- million; 5,000 keeps small records from being visited for nothing. The share of inserts that calls for a visit is a
-- twentieth instead of a fifth: totals of lists are answered from the index alone only for pages that were visited.
ALTER TABLE nephkeep.resource SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_vacuum_insert_threshold = 50000,
    vacuum_truncate = false,
    toast.autovacuum_vacuum_scale_factor = 0.02,
    toast.autovacuum_vacuum_threshold = 5000,
    toast.vacuum_truncate = false
);

-- Follows `resource`: an update that changes a name leaves a dead row and a dead index entry here.
ALTER TABLE nephkeep.name_index SET (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 5000,
    vacuum_truncate = false
);

-- Appended to, one row per commit, never updated: a visit only marks new pages as visible and frozen, once for ever, while
-- they are still in memory. By count, so that no visit ever has a fifth of the table before it.
ALTER TABLE nephkeep.batch SET (
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_freeze_min_age = 0,
    vacuum_truncate = false
);

-- A row per reader of the log, updated about once a second each. Half-filled pages keep the new versions on their page
-- (the tables of groups were made so); a visit after 500 updates costs a few pages, hence no throttle.
ALTER TABLE nephkeep.consumer SET (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false
);
ALTER TABLE nephkeep.consumer_position SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false
);
ALTER TABLE nephkeep.consumer_member SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0,
    vacuum_truncate = false
);

-- One row per statement, replaced as a whole. `statement` is a digest of the text, which survives a dump, a restore and a
-- new major version; PostgreSQL's own id of a statement does not. Texts hold no values: PostgreSQL takes them out.
CREATE TABLE nephkeep.statement_baseline (
    statement text COLLATE "C" PRIMARY KEY,
    query text COLLATE "C" NOT NULL,
    calls bigint NOT NULL,
    total_ms double precision NOT NULL,
    rows bigint NOT NULL,
    blocks bigint NOT NULL,
    -- When the counters began; together with `calls`, whether they still count on from here.
    counted_since timestamptz NOT NULL,
    kept_at timestamptz NOT NULL
);

-- No reader role has business here; the owner is admitted as everywhere.
ALTER TABLE nephkeep.statement_baseline ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.statement_baseline FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.statement_baseline TO CURRENT_USER USING (true) WITH CHECK (true);
