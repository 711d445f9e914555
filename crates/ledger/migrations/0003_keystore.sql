-- phase: expand
-- Which keystore this record is sealed under, and the oldest generation of it that may still be used (RECORD 8: a keystore
-- is never rolled back). Raised after each generation that is durable in every directory, and before anything is committed
-- that was sealed with it.
--
-- The table is made here and empty; the runner sets the lock timeout.
-- squawk-ignore-file prefer-robust-stmts, require-timeout-settings

CREATE TABLE nephkeep.keystore (
    -- There is one.
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    id bytea NOT NULL,
    generation bigint NOT NULL
);

-- No reader role has business here; the owner is admitted as everywhere.
ALTER TABLE nephkeep.keystore ENABLE ROW LEVEL SECURITY;
ALTER TABLE nephkeep.keystore FORCE ROW LEVEL SECURITY;
CREATE POLICY committer ON nephkeep.keystore TO CURRENT_USER USING (true) WITH CHECK (true);
