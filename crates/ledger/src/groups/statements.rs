//! The statements of consumer groups. Whoever changes members, owners or epochs locks the group's row first.

pub(super) const CREATE: &str = "
    WITH made AS (
        INSERT INTO nephkeep.consumer_group (tenant, name, epoch) VALUES ($1, $2, 1)
        ON CONFLICT DO NOTHING RETURNING tenant, name
    ), rows AS (
        INSERT INTO nephkeep.consumer_position (tenant, consumer_group, topic, partition, ordinal, n, epoch)
        SELECT made.tenant, made.name, p.topic, p.partition, p.ordinal, p.n, 1
        FROM made, unnest($3::text[], $4::int[], $5::int[], $6::bigint[]) AS p(topic, partition, ordinal, n)
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM made)";

pub(super) const LOCK: &str = "
    SELECT epoch FROM nephkeep.consumer_group WHERE tenant = $1 AND name = $2 FOR UPDATE";

pub(super) const LIST: &str = "
    SELECT g.name, g.epoch FROM nephkeep.consumer_group g
    WHERE g.tenant = $1 AND ($2::text IS NULL OR g.name = $2) ORDER BY g.name";

pub(super) const POSITIONS: &str = "
    SELECT topic, partition, ordinal, n, member, epoch FROM nephkeep.consumer_position
    WHERE tenant = $1 AND consumer_group = $2 ORDER BY topic, partition";

pub(super) const MEMBERS: &str = "
    SELECT member, principal, lease_ms, expires <= clock_timestamp() FROM nephkeep.consumer_member
    WHERE tenant = $1 AND consumer_group = $2 ORDER BY member";

/// Renews, and tells whether anything has to be looked at.
pub(super) const BEAT: &str = "
    WITH mine AS (
        UPDATE nephkeep.consumer_member SET expires = clock_timestamp() + lease_ms * interval '1 ms'
        WHERE tenant = $1 AND consumer_group = $2 AND member = $3 RETURNING 1
    )
    SELECT g.epoch, EXISTS (SELECT FROM mine), EXISTS (
        SELECT FROM nephkeep.consumer_member m
        WHERE m.tenant = $1 AND m.consumer_group = $2 AND m.member <> $3 AND m.expires <= clock_timestamp()
    ) FROM nephkeep.consumer_group g WHERE g.tenant = $1 AND g.name = $2";

pub(super) const JOIN: &str = "
    INSERT INTO nephkeep.consumer_member (tenant, consumer_group, member, principal, lease_ms, expires)
    VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $5::int * interval '1 ms')
    ON CONFLICT (tenant, consumer_group, member) DO UPDATE
    SET principal = excluded.principal, lease_ms = excluded.lease_ms, expires = excluded.expires";

/// Who takes a name over is somebody else: what the name owned is assigned anew.
pub(super) const DISOWN: &str = "
    UPDATE nephkeep.consumer_position SET member = NULL WHERE tenant = $1 AND consumer_group = $2 AND member = $3";

pub(super) const LEAVE: &str = "
    DELETE FROM nephkeep.consumer_member WHERE tenant = $1 AND consumer_group = $2 AND member = $3";

pub(super) const EXPIRE: &str = "
    DELETE FROM nephkeep.consumer_member
    WHERE tenant = $1 AND consumer_group = $2 AND expires <= clock_timestamp()";

pub(super) const RAISE: &str = "
    UPDATE nephkeep.consumer_group SET epoch = $3 WHERE tenant = $1 AND name = $2";

pub(super) const ASSIGN: &str = "
    UPDATE nephkeep.consumer_position p SET member = a.member, epoch = $3
    FROM unnest($4::text[], $5::int[], $6::text[]) AS a(topic, partition, member)
    WHERE p.tenant = $1 AND p.consumer_group = $2 AND p.topic = a.topic AND p.partition = a.partition";

/// The epoch too: what was read before the move is committed by nobody.
pub(super) const SEEK: &str = "
    UPDATE nephkeep.consumer_position SET ordinal = $4, n = $5, epoch = $3
    WHERE tenant = $1 AND consumer_group = $2 AND ($6::text IS NULL OR topic = $6)";

pub(super) const DELETE: &str = "
    WITH gone AS (DELETE FROM nephkeep.consumer_group WHERE tenant = $1 AND name = $2 RETURNING 1),
    positions AS (DELETE FROM nephkeep.consumer_position WHERE tenant = $1 AND consumer_group = $2),
    members AS (DELETE FROM nephkeep.consumer_member WHERE tenant = $1 AND consumer_group = $2),
    letters AS (DELETE FROM nephkeep.dead_letter WHERE tenant = $1 AND consumer = 'group/' || $2)
    SELECT EXISTS (SELECT FROM gone)";

/// Several members of one group at once, each named once. Moves forward only what is still each member's since the epoch
/// it names; says of each how many partitions that is. The group's row is locked first, as by everybody who changes
/// owners: so what it says is what it did, and nobody waits for the other.
pub(super) const COMMIT: &str = "
    WITH locked AS MATERIALIZED (
        SELECT epoch FROM nephkeep.consumer_group WHERE tenant = $1 AND name = $2 FOR UPDATE
    ), asked AS (
        SELECT * FROM unnest($3::text[], $4::bigint[], $5::int[], $6::bigint[]) WITH ORDINALITY
            AS c(member, epoch, ordinal, n, at)
    ), moved AS (
        UPDATE nephkeep.consumer_position p
        SET ordinal = CASE WHEN (p.ordinal, p.n) < (c.ordinal, c.n) THEN c.ordinal ELSE p.ordinal END,
            n = CASE WHEN (p.ordinal, p.n) < (c.ordinal, c.n) THEN c.n ELSE p.n END
        FROM asked c JOIN locked ON c.epoch <= locked.epoch
        WHERE p.tenant = $1 AND p.consumer_group = $2 AND p.member = c.member AND p.epoch <= c.epoch
        RETURNING c.at
    )
    SELECT (SELECT count(*) FROM moved WHERE moved.at = asked.at) FROM asked ORDER BY at";

pub(super) const BURY: &str = "
    INSERT INTO nephkeep.dead_letter AS d (tenant, consumer, topic, n, ordinal, attempts, reason)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (tenant, consumer, topic, n) DO UPDATE
    SET attempts = d.attempts + excluded.attempts, reason = excluded.reason, at = clock_timestamp()";

pub(super) const BURIED: &str = "
    SELECT topic, ordinal, n, attempts, reason, at FROM nephkeep.dead_letter
    WHERE tenant = $1 AND consumer = $2 AND n > $3 ORDER BY n, topic LIMIT $4";

pub(super) const UNBURY: &str = "
    DELETE FROM nephkeep.dead_letter WHERE tenant = $1 AND consumer = $2 AND topic = $3 AND n = $4";
