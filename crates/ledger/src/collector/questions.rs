//! The statements of the collector. Each selects its labels as text, then its metrics as double precision.

use std::ops::Range;

pub(super) struct Question {
    pub text: &'static str,
    /// Asked first; a false answer means that there is nothing to ask.
    pub only_if: Option<&'static str>,
    pub labels: &'static [&'static str],
    pub metrics: &'static [&'static str],
    /// Of PostgreSQL, as `server_version_num` has them.
    pub versions: Range<u32>,
}

const EVERY: Range<u32> = 0..u32::MAX;
const BEFORE_17: Range<u32> = 0..170_000;
const FROM_17: Range<u32> = 170_000..u32::MAX;

pub(super) const VERSION: &str = "SELECT current_setting('server_version_num')::int";

pub(super) const QUESTIONS: &[Question] = &[
    Question {
        text: "SELECT current_setting('server_version'), 1::float8",
        only_if: None,
        labels: &["version"],
        metrics: &["pg_static"],
        versions: EVERY,
    },
    Question {
        text: "SELECT extract(epoch FROM pg_postmaster_start_time())::float8,
            current_setting('max_connections')::float8, current_setting('superuser_reserved_connections')::float8",
        only_if: None,
        labels: &[],
        metrics: &[
            "pg_postmaster_start_time_seconds",
            "pg_settings_max_connections",
            "pg_settings_superuser_reserved_connections",
        ],
        versions: EVERY,
    },
    // Connections.
    Question {
        text: "SELECT datname, state, count(*)::float8,
                coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float8
            FROM pg_stat_activity WHERE datname IS NOT NULL AND state IS NOT NULL AND pid <> pg_backend_pid()
            GROUP BY datname, state",
        only_if: None,
        labels: &["datname", "state"],
        metrics: &["pg_stat_activity_count", "pg_stat_activity_max_tx_duration"],
        versions: EVERY,
    },
    Question {
        text: "SELECT datname, numbackends::float8, xact_commit::float8, xact_rollback::float8, blks_read::float8,
                blks_hit::float8, tup_returned::float8, tup_fetched::float8, tup_inserted::float8, tup_updated::float8,
                tup_deleted::float8, conflicts::float8, temp_files::float8, temp_bytes::float8, deadlocks::float8,
                checksum_failures::float8
            FROM pg_stat_database WHERE datname = current_database()",
        only_if: None,
        labels: &["datname"],
        metrics: &[
            "pg_stat_database_numbackends",
            "pg_stat_database_xact_commit",
            "pg_stat_database_xact_rollback",
            "pg_stat_database_blks_read",
            "pg_stat_database_blks_hit",
            "pg_stat_database_tup_returned",
            "pg_stat_database_tup_fetched",
            "pg_stat_database_tup_inserted",
            "pg_stat_database_tup_updated",
            "pg_stat_database_tup_deleted",
            "pg_stat_database_conflicts",
            "pg_stat_database_temp_files",
            "pg_stat_database_temp_bytes",
            "pg_stat_database_deadlocks",
            "pg_stat_database_checksum_failures",
        ],
        versions: EVERY,
    },
    // Size, and how far the oldest transaction of the database is behind: at 2^31 PostgreSQL stops.
    Question {
        text: "SELECT datname, pg_database_size(oid)::float8, age(datfrozenxid)::float8
            FROM pg_database WHERE datname = current_database()",
        only_if: None,
        labels: &["datname"],
        metrics: &["pg_database_size_bytes", "pg_database_wraparound_age_datfrozenxid_seconds"],
        versions: EVERY,
    },
    // Locks, and who holds whom up.
    Question {
        text: "SELECT current_database(), mode, count(*)::float8 FROM pg_locks
            WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY mode",
        only_if: None,
        labels: &["datname", "mode"],
        metrics: &["pg_locks_count"],
        versions: EVERY,
    },
    Question {
        text: "WITH held AS (
                SELECT pid, unnest(pg_blocking_pids(pid)) AS by, clock_timestamp() - state_change AS since
                FROM pg_stat_activity WHERE wait_event_type = 'Lock')
            SELECT count(DISTINCT pid)::float8, count(DISTINCT by)::float8,
                coalesce(max(extract(epoch FROM since)), 0)::float8 FROM held",
        only_if: None,
        labels: &[],
        metrics: &[
            "nephkeep_postgresql_blocked_sessions",
            "nephkeep_postgresql_blocking_sessions",
            "nephkeep_postgresql_longest_block_seconds",
        ],
        versions: EVERY,
    },
    // WAL and its archive.
    Question {
        text: "SELECT count(*)::float8, coalesce(sum(size), 0)::float8 FROM pg_ls_waldir()",
        only_if: None,
        labels: &[],
        metrics: &["pg_wal_segments", "pg_wal_size_bytes"],
        versions: EVERY,
    },
    Question {
        text: "SELECT wal_records::float8, wal_fpi::float8, wal_bytes::float8 FROM pg_stat_wal",
        only_if: None,
        labels: &[],
        metrics: &[
            "nephkeep_postgresql_wal_records_total",
            "nephkeep_postgresql_wal_full_page_images_total",
            "nephkeep_postgresql_wal_written_bytes_total",
        ],
        versions: EVERY,
    },
    Question {
        text: "SELECT archived_count::float8, failed_count::float8,
                extract(epoch FROM clock_timestamp() - last_archived_time)::float8 FROM pg_stat_archiver",
        only_if: None,
        labels: &[],
        metrics: &[
            "pg_stat_archiver_archived_count",
            "pg_stat_archiver_failed_count",
            "pg_stat_archiver_last_archive_age",
        ],
        versions: EVERY,
    },
    Question {
        text: "SELECT pg_is_in_recovery()::int::float8,
                CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
                    ELSE greatest(0, extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()))
                END::float8",
        only_if: None,
        labels: &[],
        metrics: &["pg_replication_is_replica", "pg_replication_lag_seconds"],
        versions: EVERY,
    },
    Question {
        text: "SELECT application_name, state, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::float8
            FROM pg_stat_replication",
        only_if: Some("SELECT NOT pg_is_in_recovery()"),
        labels: &["application_name", "state"],
        metrics: &["pg_stat_replication_pg_wal_lsn_diff"],
        versions: EVERY,
    },
    // Checkpoints; in 17 they moved to a view of their own.
    Question {
        text: "SELECT checkpoints_timed::float8, checkpoints_req::float8, (checkpoint_write_time / 1000)::float8,
                (checkpoint_sync_time / 1000)::float8, buffers_checkpoint::float8, buffers_clean::float8,
                maxwritten_clean::float8, buffers_alloc::float8 FROM pg_stat_bgwriter",
        only_if: None,
        labels: &[],
        metrics: CHECKPOINTS,
        versions: BEFORE_17,
    },
    Question {
        text: "SELECT c.num_timed::float8, c.num_requested::float8, (c.write_time / 1000)::float8,
                (c.sync_time / 1000)::float8, c.buffers_written::float8, b.buffers_clean::float8,
                b.maxwritten_clean::float8, b.buffers_alloc::float8 FROM pg_stat_checkpointer c, pg_stat_bgwriter b",
        only_if: None,
        labels: &[],
        metrics: CHECKPOINTS,
        versions: FROM_17,
    },
    // Vacuum, and how the tables of the record are read.
    Question {
        text: "SELECT current_database(), schemaname, relname, n_live_tup::float8, n_dead_tup::float8,
                coalesce(extract(epoch FROM last_vacuum), 0)::float8,
                coalesce(extract(epoch FROM last_autovacuum), 0)::float8,
                coalesce(extract(epoch FROM last_analyze), 0)::float8,
                coalesce(extract(epoch FROM last_autoanalyze), 0)::float8,
                vacuum_count::float8, autovacuum_count::float8, analyze_count::float8, autoanalyze_count::float8,
                seq_scan::float8, coalesce(idx_scan, 0)::float8, n_tup_ins::float8, n_tup_upd::float8,
                n_tup_hot_upd::float8, n_tup_del::float8
            FROM pg_stat_user_tables WHERE schemaname = 'nephkeep' ORDER BY relid LIMIT 200",
        only_if: None,
        labels: &["datname", "schemaname", "relname"],
        metrics: &[
            "pg_stat_user_tables_n_live_tup",
            "pg_stat_user_tables_n_dead_tup",
            "pg_stat_user_tables_last_vacuum",
            "pg_stat_user_tables_last_autovacuum",
            "pg_stat_user_tables_last_analyze",
            "pg_stat_user_tables_last_autoanalyze",
            "pg_stat_user_tables_vacuum_count",
            "pg_stat_user_tables_autovacuum_count",
            "pg_stat_user_tables_analyze_count",
            "pg_stat_user_tables_autoanalyze_count",
            "pg_stat_user_tables_seq_scan",
            "pg_stat_user_tables_idx_scan",
            "pg_stat_user_tables_n_tup_ins",
            "pg_stat_user_tables_n_tup_upd",
            "pg_stat_user_tables_n_tup_hot_upd",
            "pg_stat_user_tables_n_tup_del",
        ],
        versions: EVERY,
    },
    // The statements that took the most time, where the extension is loaded. Their texts stay where they are.
    Question {
        text: "SELECT r.rolname, d.datname, s.queryid::text, s.calls::float8, (s.total_exec_time / 1000)::float8,
                s.rows::float8
            FROM pg_stat_statements s JOIN pg_roles r ON r.oid = s.userid JOIN pg_database d ON d.oid = s.dbid
            WHERE d.datname = current_database() ORDER BY s.total_exec_time DESC LIMIT 50",
        only_if: Some(
            "SELECT to_regclass('pg_stat_statements') IS NOT NULL
                AND current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'",
        ),
        labels: &["user", "datname", "queryid"],
        metrics: &[
            "pg_stat_statements_calls_total",
            "pg_stat_statements_seconds_total",
            "pg_stat_statements_rows_total",
        ],
        versions: EVERY,
    },
];

const CHECKPOINTS: &[&str] = &[
    "pg_stat_bgwriter_checkpoints_timed_total",
    "pg_stat_bgwriter_checkpoints_req_total",
    "pg_stat_bgwriter_checkpoint_write_time_total",
    "pg_stat_bgwriter_checkpoint_sync_time_total",
    "pg_stat_bgwriter_buffers_checkpoint_total",
    "pg_stat_bgwriter_buffers_clean_total",
    "pg_stat_bgwriter_maxwritten_clean_total",
    "pg_stat_bgwriter_buffers_alloc_total",
];
