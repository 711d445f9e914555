-- phase: expand
-- The record (RECORD 1 to 4, 8, 12 to 15). Applied in one transaction by the migration runner, which
-- owns the table nephkeep.migration.
--
-- The linter prefers bigint everywhere; the narrow columns here are closed lists (kind, class, action,
-- state, status), the shard and the incarnation's ordinal, and stand in every row of the largest tables.
-- Every table is made here and empty, so its indexes block nobody; the runner sets the lock timeout.
-- squawk-ignore-file prefer-bigint-over-int, prefer-bigint-over-smallint, prefer-robust-stmts, require-timeout-settings, require-concurrent-index-creation

CREATE SCHEMA IF NOT EXISTS nephkeep;

-- One row: where the log stands and who may write it. fillfactor 20 keeps its updates on its page (HOT).
CREATE TABLE nephkeep.log_head (
    shard int PRIMARY KEY,
    ordinal int NOT NULL,
    random bigint NOT NULL,
    -- n of the next change; the first change of a log has n = 1.
    next bigint NOT NULL,
    -- Highest n that may be read: durable in the epoch of the leader that raised it (RECORD 3).
    published bigint NOT NULL,
    epoch bigint NOT NULL,
    hlc bigint NOT NULL,
    holder text COLLATE "C" NOT NULL,
    holder_url text COLLATE "C",
    -- The holder is the server that owns the local data directory; its flock proves a predecessor dead.
    flock bool NOT NULL,
    lease_ms int NOT NULL,
    renewals bigint NOT NULL,
    released bool NOT NULL
) WITH (fillfactor = 20);

-- Incarnations of a log (RECORD 2); the first has no parent.
CREATE TABLE nephkeep.history (
    shard int NOT NULL,
    ordinal int NOT NULL,
    random bigint NOT NULL,
    parent_ordinal int,
    -- First n of this incarnation: positions of the parent from here on are voided.
    fork_n bigint NOT NULL,
    hlc bigint NOT NULL,
    PRIMARY KEY (shard, ordinal)
);

CREATE TABLE nephkeep.resource (
    tenant text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    ordinal int NOT NULL,
    n bigint NOT NULL,
    created_n bigint NOT NULL,
    deleted bool NOT NULL,
    class smallint NOT NULL,
    subject text COLLATE "C" NOT NULL,
    key_id bigint NOT NULL,
    at_type text COLLATE "C",
    lifecycle_status text COLLATE "C",
    priority text COLLATE "C",
    is_bundle bool,
    creation_date bigint,
    last_update bigint,
    content_tag bytea NOT NULL,
    sealed bytea,
    PRIMARY KEY (tenant, kind, id)
) WITH (fillfactor = 90);
-- An envelope does not compress: no attempt is made.
ALTER TABLE nephkeep.resource ALTER COLUMN sealed SET STORAGE EXTERNAL;
-- Lists and their totals (index-only): everything but tombstones and restricted documents, which are write-only.
CREATE INDEX resource_page ON nephkeep.resource (tenant, kind, created_n) WHERE NOT deleted AND class < 3;

-- Events, history and the source of every rebuild. Partitions are made ahead by the leader; no default one.
-- history of a key: from resource.n back along prev_n, one primary key lookup per version.
-- action: 1 created, 2 updated, 3 deleted, 4 fork, 5 barrier.
CREATE TABLE nephkeep.change (
    n bigint NOT NULL,
    ordinal int NOT NULL,
    random bigint NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    action smallint NOT NULL,
    class smallint NOT NULL,
    subject text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    hlc bigint NOT NULL,
    created_n bigint NOT NULL,
    prev_n bigint,
    content_tag bytea NOT NULL,
    sealed bytea,
    PRIMARY KEY (n)
) PARTITION BY RANGE (n);
ALTER TABLE nephkeep.change ALTER COLUMN sealed SET STORAGE EXTERNAL;

CREATE TABLE nephkeep.audit (
    at timestamptz NOT NULL,
    hlc bigint NOT NULL,
    n bigint NOT NULL,
    ordinal int NOT NULL,
    principal text COLLATE "C" NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    action smallint NOT NULL,
    kind smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    class smallint NOT NULL,
    purpose text COLLATE "C" NOT NULL,
    content_tag bytea NOT NULL
) PARTITION BY RANGE (at);
CREATE INDEX audit_at ON nephkeep.audit USING brin (at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX audit_n ON nephkeep.audit USING brin (n) WITH (pages_per_range = 32, autosummarize = on);

-- Decides unknown outcomes by identity (RECORD 3) and gives recovery its stopping points (RECORD 12).
CREATE TABLE nephkeep.batch (
    first bigint PRIMARY KEY,
    last bigint NOT NULL,
    ordinal int NOT NULL,
    random bigint NOT NULL,
    batch_uuid uuid NOT NULL UNIQUE,
    epoch bigint NOT NULL,
    xid bigint NOT NULL,
    lsn_before pg_lsn NOT NULL,
    hlc bigint NOT NULL
);

-- Idempotency keys of effective writes (RECORD 14); n is the last position of the group, writes how many it has.
CREATE TABLE nephkeep.request (
    day date NOT NULL,
    tenant text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    body_tag bytea NOT NULL,
    n bigint NOT NULL,
    writes int NOT NULL,
    version bigint NOT NULL,
    status smallint NOT NULL,
    PRIMARY KEY (tenant, principal, key, day)
) PARTITION BY RANGE (day);

-- Whose key seals what (RECORD 8). state: 0 live, 1 erasing, 2 erased.
CREATE TABLE nephkeep.subject (
    tenant text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    key_id bigint NOT NULL,
    state smallint NOT NULL,
    PRIMARY KEY (tenant, subject)
);

-- Equality on `name` without the name: a keyed digest. Empty after a crash by nature (UNLOGGED), then
-- rebuilt by the leader; complete while the row ('', 0, '') stands.
CREATE UNLOGGED TABLE nephkeep.name_index (
    tenant text COLLATE "C" NOT NULL,
    kind smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    blind bytea,
    PRIMARY KEY (tenant, kind, id)
);
CREATE INDEX name_index_blind ON nephkeep.name_index (tenant, kind, blind) WHERE blind IS NOT NULL;
-- The index of no documents is complete.
INSERT INTO nephkeep.name_index (tenant, kind, id, blind) VALUES ('', 0, '', NULL);

-- How far each reader of the log has come: batched, outside the log (RECORD 16).
CREATE TABLE nephkeep.consumer (
    tenant text COLLATE "C" NOT NULL,
    consumer text COLLATE "C" NOT NULL,
    ordinal int NOT NULL,
    n bigint NOT NULL,
    epoch bigint NOT NULL,
    PRIMARY KEY (tenant, consumer)
);

-- The lease is lost: no head row came back. Raising undoes the whole statement.
CREATE FUNCTION nephkeep.fence(base bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF base IS NULL THEN
        RAISE EXCEPTION 'the lease on this log is lost' USING ERRCODE = 'NK001';
    END IF;
    RETURN base;
END $$;

-- What was decided is what was written, in every table, or nothing is.
CREATE FUNCTION nephkeep.same(decided bigint, written bigint) RETURNS bool
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF decided IS DISTINCT FROM written THEN
        RAISE EXCEPTION 'decided % writes, wrote %', decided, written USING ERRCODE = 'NK002';
    END IF;
    RETURN true;
END $$;

-- Row-level security guards reader roles, which see one tenant at a time. The committer owns the tables and is
-- admitted to all rows: its guard is the composite-key join of the one statement (RECORD 16).
ALTER TABLE nephkeep.resource ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.resource FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.resource TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY reader ON nephkeep.resource FOR SELECT USING (tenant = current_setting('nephkeep.tenant', true));
ALTER TABLE nephkeep.change ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.change FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.change TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY reader ON nephkeep.change FOR SELECT USING (tenant = current_setting('nephkeep.tenant', true));
ALTER TABLE nephkeep.audit ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.audit FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.audit TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY reader ON nephkeep.audit FOR SELECT USING (tenant = current_setting('nephkeep.tenant', true));
ALTER TABLE nephkeep.request ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.request FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.request TO CURRENT_USER USING (true) WITH CHECK (true);
ALTER TABLE nephkeep.subject ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.subject FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.subject TO CURRENT_USER USING (true) WITH CHECK (true);
ALTER TABLE nephkeep.name_index ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.name_index FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.name_index TO CURRENT_USER USING (true) WITH CHECK (true);
CREATE POLICY reader ON nephkeep.name_index FOR SELECT USING (tenant = current_setting('nephkeep.tenant', true));
ALTER TABLE nephkeep.consumer ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.consumer FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.consumer TO CURRENT_USER USING (true) WITH CHECK (true);
