-- The one statement (RECORD 1): decides every member, then writes what was decided, or raises.
-- op: 0 read, 1 require absent, 2 require present, 3 require version, 4 create, 5 replace, 6 put, 7 delete,
--     8 idempotency key (last member of its group; `expected` = how many writes the group has),
--     9 use of a subject's key for keyed digests only (first member of its group).
-- A request is looked for on every day that is kept, whatever the clock says: a probe of a few unique indexes.
-- verdict: 0 ok, 1 version-conflict, 2 exists, 3 absent, 4 reseal-version, 5 reseal-key, 6 subject-erased,
--     7 idempotency-replay, 8 idempotency-mismatch, 9 write-only (a read of a restricted document).
WITH m AS MATERIALIZED (
    SELECT * FROM unnest(
        $8::int4[], $9::int2[], $10::text[], $11::int2[], $12::text[], $13::int8[], $14::int8[], $15::int2[],
        $16::text[], $17::int8[], $18::text[], $19::text[], $20::text[], $21::bool[], $22::int8[], $23::int8[],
        $24::bytea[], $25::bytea[], $26::text[], $27::text[], $28::text[], $29::bytea[], $30::bytea[]
    ) WITH ORDINALITY AS m(
        grp, op, tenant, kind, id, expected, version, class,
        subject, key_id, at_type, lifecycle_status, priority, is_bundle, creation_date, last_update,
        content_tag, sealed, principal, purpose, request_key, body_tag, blind, ord)
),
decided AS MATERIALIZED (
    SELECT m.*,
        r.version AS cur, r.n AS cur_n, r.ordinal AS cur_ordinal, r.created_n AS cur_created,
        r.class AS cur_class, r.subject AS cur_subject, r.key_id AS cur_key, r.deleted IS NOT FALSE AS gone,
        CASE WHEN m.op = 0 AND NOT r.deleted THEN r.sealed END AS cur_sealed,
        s.key_id AS subject_key, q.n AS request_n, q.writes AS request_writes,
        CASE
            WHEN m.op = 8 THEN CASE WHEN q.n IS NULL THEN 0 WHEN q.body_tag = m.body_tag THEN 7 ELSE 8 END
            WHEN m.op = 0 THEN CASE WHEN r.class >= 3 AND NOT r.deleted THEN 9 ELSE 0 END
            WHEN m.op IN (1, 4) AND r.deleted IS FALSE THEN 2
            WHEN m.op = 1 THEN 0
            WHEN m.op IN (2, 3, 5, 7) AND r.deleted IS NOT FALSE THEN 3
            WHEN m.op = 2 THEN 0
            WHEN m.op IN (3, 5, 7) AND m.expected <> r.version THEN 1
            WHEN m.op IN (3, 7) THEN 0
            WHEN s.state <> 0 THEN 6
            WHEN s.key_id <> m.key_id THEN 5
            WHEN m.op = 9 THEN 0
            WHEN m.version <> coalesce(r.version, 0) + 1 THEN 4
            ELSE 0
        END AS verdict
    FROM m
    LEFT JOIN nephkeep.resource r ON r.tenant = m.tenant AND r.kind = m.kind AND r.id = m.id
    LEFT JOIN LATERAL (
        SELECT i.n, i.writes, i.body_tag FROM nephkeep.request i
        WHERE m.op = 8 AND i.tenant = m.tenant AND i.principal = m.principal AND i.key = m.request_key
        ORDER BY i.day DESC LIMIT 1
    ) q ON true
    LEFT JOIN nephkeep.subject s ON s.tenant = m.tenant AND s.subject = m.subject
),
grouped AS (
    SELECT d.*, bool_and(d.verdict = 0) OVER (PARTITION BY d.grp) AS ok FROM decided d
),
counted AS MATERIALIZED (
    SELECT g.*, count(*) FILTER (WHERE g.ok AND g.op BETWEEN 4 AND 7) OVER (ORDER BY g.ord) AS nth FROM grouped g
),
head AS (
    UPDATE nephkeep.log_head h
    SET next = h.next + c.k, hlc = greatest(h.hlc, $3::int8), published = greatest(h.published, $6::int8),
        renewals = h.renewals + 1
    FROM (SELECT coalesce(max(nth), 0) AS k FROM counted) c
    WHERE h.shard = $1::int4 AND h.epoch = $2::int8
    RETURNING h.next - c.k AS base, c.k, h.ordinal, h.random
),
w AS MATERIALIZED (
    SELECT c.*,
        (SELECT nephkeep.fence((SELECT base FROM head))) + c.nth - 1 AS n,
        (SELECT ordinal FROM head) AS ordinal,
        (SELECT random FROM head) AS random,
        CASE WHEN c.op = 8 THEN lag(c.new_version) OVER (ORDER BY c.ord) ELSE c.new_version END AS at_version,
        CASE WHEN c.op = 7 THEN 3 WHEN c.gone THEN 1 ELSE 2 END AS action,
        lag(CASE WHEN c.op = 7 THEN 204 WHEN c.gone THEN 201 ELSE 200 END) OVER (ORDER BY c.ord) AS status
    FROM (SELECT *, CASE WHEN op = 7 THEN cur + 1 ELSE version END AS new_version FROM counted) c
    WHERE c.ok AND c.op >= 4
),
resources AS (
    INSERT INTO nephkeep.resource AS r (tenant, kind, id, version, ordinal, n, created_n, deleted, class, subject, key_id,
        at_type, lifecycle_status, priority, is_bundle, creation_date, last_update, content_tag, sealed)
    SELECT tenant, kind, id, new_version, ordinal, n, CASE WHEN action = 1 THEN n ELSE cur_created END, op = 7,
        coalesce(class, cur_class), coalesce(subject, cur_subject), coalesce(key_id, cur_key),
        at_type, lifecycle_status, priority, is_bundle, creation_date, last_update, content_tag, sealed
    FROM w WHERE op < 8
    ON CONFLICT (tenant, kind, id) DO UPDATE SET version = excluded.version, ordinal = excluded.ordinal,
        n = excluded.n, created_n = excluded.created_n, deleted = excluded.deleted, class = excluded.class,
        subject = excluded.subject, key_id = excluded.key_id, at_type = excluded.at_type,
        lifecycle_status = excluded.lifecycle_status, priority = excluded.priority, is_bundle = excluded.is_bundle,
        creation_date = excluded.creation_date, last_update = excluded.last_update,
        content_tag = excluded.content_tag, sealed = excluded.sealed
    RETURNING 1
),
changes AS (
    INSERT INTO nephkeep.change (n, ordinal, random, tenant, kind, id, version, action, class, subject, principal,
        hlc, created_n, prev_n, content_tag, sealed)
    SELECT n, ordinal, random, tenant, kind, id, new_version, action, coalesce(class, cur_class),
        coalesce(subject, cur_subject), principal, $3, CASE WHEN action = 1 THEN n ELSE cur_created END, cur_n,
        content_tag, sealed
    FROM w WHERE op < 8
    RETURNING 1
),
audits AS (
    INSERT INTO nephkeep.audit (at, hlc, n, ordinal, principal, tenant, action, kind, id, version, class, purpose,
        content_tag)
    SELECT $7::timestamptz, $3, n, ordinal, principal, tenant, action, kind, id, new_version,
        coalesce(class, cur_class), purpose, content_tag
    FROM w WHERE op < 8
    RETURNING 1
),
fresh AS MATERIALIZED (
    SELECT DISTINCT tenant, subject, key_id FROM w
    WHERE op IN (4, 5, 6, 9) AND subject_key IS NULL
),
subjects AS (
    INSERT INTO nephkeep.subject (tenant, subject, key_id, state) SELECT tenant, subject, key_id, 0 FROM fresh
    ON CONFLICT DO NOTHING RETURNING 1
),
requests AS (
    INSERT INTO nephkeep.request (day, tenant, principal, key, body_tag, n, writes, version, status)
    SELECT date '1970-01-01' + $4::int4, tenant, principal, request_key, body_tag, n, expected, at_version, status
    FROM w WHERE op = 8 AND expected > 0
),
names AS (
    INSERT INTO nephkeep.name_index AS i (tenant, kind, id, blind)
    SELECT tenant, kind, id, nullif(blind, ''::bytea) FROM w
    WHERE op < 8 AND blind IS NOT NULL AND (blind <> ''::bytea OR cur_n IS NOT NULL)
    ON CONFLICT (tenant, kind, id) DO UPDATE SET blind = excluded.blind
    WHERE i.blind IS DISTINCT FROM excluded.blind
),
batches AS (
    INSERT INTO nephkeep.batch (first, last, ordinal, random, batch_uuid, epoch, xid, lsn_before, hlc)
    SELECT base, base + k - 1, ordinal, random, $5::text::uuid, $2, pg_current_xact_id()::text::bigint,
        pg_current_wal_insert_lsn(), $3
    FROM head WHERE k > 0
)
SELECT c.verdict::int2, c.ok, (SELECT nephkeep.fence((SELECT base FROM head))) + c.nth - 1 AS n,
    c.cur, c.cur_n, c.cur_ordinal, c.cur_class, c.gone, c.cur_sealed, c.subject_key, c.request_n, c.request_writes,
    (SELECT nephkeep.same((SELECT k FROM head), (SELECT count(*) FROM resources))
        AND nephkeep.same((SELECT k FROM head), (SELECT count(*) FROM changes))
        AND nephkeep.same((SELECT k FROM head), (SELECT count(*) FROM audits))
        AND nephkeep.same((SELECT count(*) FROM fresh), (SELECT count(*) FROM subjects))) AS same
FROM counted c
ORDER BY c.ord
