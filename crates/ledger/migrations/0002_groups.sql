-- phase: expand
-- Consumer groups of the event tier (docs/guide/events.md): who reads which partitions, how far, under which epoch.
-- The events themselves are the change log; nothing of them is copied here.
--
-- The narrow columns are closed lists or counted in tens: a partition's number, an incarnation's ordinal, a lease, attempts.
-- Every table is made here and empty, so its indexes block nobody; the runner sets the lock timeout.
-- squawk-ignore-file prefer-bigint-over-int, prefer-robust-stmts, require-timeout-settings, require-concurrent-index-creation

-- Its row is the lock under which members, partitions and epochs change; commits do not take it.
CREATE TABLE nephkeep.consumer_group (
    tenant text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    -- Goes up with every change of who reads what.
    epoch bigint NOT NULL,
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, name)
);

-- A member is there until it leaves, or until its lease is over and somebody else looks. The clock is PostgreSQL's.
CREATE TABLE nephkeep.consumer_member (
    tenant text COLLATE "C" NOT NULL,
    consumer_group text COLLATE "C" NOT NULL,
    member text COLLATE "C" NOT NULL,
    principal text COLLATE "C" NOT NULL,
    lease_ms int NOT NULL,
    expires timestamptz NOT NULL,
    PRIMARY KEY (tenant, consumer_group, member)
) WITH (fillfactor = 50);

-- One row per partition: everything up to (ordinal, n) is done; epoch is the group's when the owner got it. A commit
-- names the epoch it was read under and moves only rows that are still the member's since then: the fence.
CREATE TABLE nephkeep.consumer_position (
    tenant text COLLATE "C" NOT NULL,
    consumer_group text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    partition int NOT NULL,
    ordinal int NOT NULL,
    n bigint NOT NULL,
    member text COLLATE "C",
    epoch bigint NOT NULL,
    PRIMARY KEY (tenant, consumer_group, topic, partition)
) WITH (fillfactor = 50);

-- What a sink or a consumer would not take, by position: the event itself stays in the log.
CREATE TABLE nephkeep.dead_letter (
    tenant text COLLATE "C" NOT NULL,
    consumer text COLLATE "C" NOT NULL,
    topic text COLLATE "C" NOT NULL,
    n bigint NOT NULL,
    ordinal int NOT NULL,
    attempts int NOT NULL,
    reason text COLLATE "C" NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (tenant, consumer, topic, n)
);

-- No reader role has business here; the owner is admitted as everywhere.
ALTER TABLE nephkeep.consumer_group ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.consumer_group FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.consumer_group TO CURRENT_USER USING (true) WITH CHECK (true);
ALTER TABLE nephkeep.consumer_member ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.consumer_member FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.consumer_member TO CURRENT_USER USING (true) WITH CHECK (true);
ALTER TABLE nephkeep.consumer_position ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.consumer_position FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.consumer_position TO CURRENT_USER USING (true) WITH CHECK (true);
ALTER TABLE nephkeep.dead_letter ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.dead_letter FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.dead_letter TO CURRENT_USER USING (true) WITH CHECK (true);
