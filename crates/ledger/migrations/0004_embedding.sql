-- phase: expand
-- Vectors of texts that a server was asked for (docs/guide/knowledge.md): what nothing here can compute again. Addressed by
-- content under a key of the subject's, and sealed under the subject's key, so that an erasure takes them (RECORD 7, 8).
--
-- dimensions is at most 16,384. The table is made here and empty; the runner sets the lock timeout.
-- squawk-ignore-file prefer-bigint-over-int, prefer-robust-stmts, require-timeout-settings

-- A vector of 1,536 numbers stays in its row (toast_tuple_target): one read, not four.
CREATE TABLE nephkeep.embedding (
    tenant text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    -- HMAC under the subject's hash key of model and text.
    address bytea NOT NULL,
    dimensions int NOT NULL,
    -- How far the log was when it was stored: the clean-up leaves alone what is newer than what it has looked at.
    n bigint NOT NULL,
    sealed bytea NOT NULL,
    PRIMARY KEY (tenant, subject, model, address) INCLUDE (n)
) WITH (toast_tuple_target = 8160);
-- An envelope does not compress: no attempt is made.
ALTER TABLE nephkeep.embedding ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- No reader role has business here; the owner is admitted as everywhere.
ALTER TABLE nephkeep.embedding ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.embedding FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.embedding TO CURRENT_USER USING (true) WITH CHECK (true);
