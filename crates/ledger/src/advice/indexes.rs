//! Indexes: which cost writes and serve nobody, which say the same as another, which are broken.

use super::{Advice, Finding};
use crate::{connection::classify, doctor::Verdict, read::rows::unsigned};
use model::Result;
use tokio_postgres::{Client, Row};

/// Made by our migrations: their statements need them when they come, whether anybody has asked yet or not.
const OURS: [&str; 4] = ["resource_page", "audit_at", "audit_n", "name_index_blind"];
/// Before a table was read this often, an index of it that nobody used is only young.
const READS_MIN: u64 = 1_000;
const BYTES_MIN: u64 = 1 << 20;

/// Of a partitioned table's index the parts are counted together and not shown by themselves.
const INDEXES: &str = "
    WITH one AS (
        SELECT x.indexrelid, coalesce(p.inhparent, x.indexrelid) AS whole, coalesce(s.idx_scan, 0) AS scans,
            CASE WHEN c.relkind = 'i' THEN pg_relation_size(c.oid) ELSE 0 END AS bytes
        FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        LEFT JOIN pg_inherits p ON p.inhrelid = x.indexrelid
        LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = x.indexrelid
        WHERE n.nspname = 'nephkeep'),
    summed AS (SELECT whole, sum(scans)::bigint AS scans, sum(bytes)::bigint AS bytes FROM one GROUP BY whole),
    reads AS (
        SELECT coalesce(p.inhparent, s.relid) AS relid, sum(s.seq_scan + coalesce(s.idx_scan, 0))::bigint AS reads
        FROM pg_stat_all_tables s LEFT JOIN pg_inherits p ON p.inhrelid = s.relid
        WHERE s.schemaname = 'nephkeep' GROUP BY 1)
    SELECT c.relname, t.relname, u.scans, u.bytes, coalesce(r.reads, 0)::bigint, x.indisunique,
        EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = x.indexrelid), x.indisvalid, a.amname,
        ARRAY(SELECT concat_ws(' ', pg_get_indexdef(x.indexrelid, g, true), x.indclass[g - 1], x.indcollation[g - 1],
                x.indoption[g - 1])
            FROM generate_series(1, x.indnkeyatts::int) g),
        ARRAY(SELECT pg_get_indexdef(x.indexrelid, g, true)
            FROM generate_series(x.indnkeyatts + 1, x.indnatts::int) g)::text,
        coalesce(pg_get_expr(x.indpred, x.indrelid), '')
    FROM summed u JOIN pg_index x ON x.indexrelid = u.whole JOIN pg_class c ON c.oid = x.indexrelid
    JOIN pg_class t ON t.oid = x.indrelid JOIN pg_am a ON a.oid = c.relam LEFT JOIN reads r ON r.relid = x.indrelid
    ORDER BY t.relname, c.relname";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Index {
    name: String,
    table: String,
    scans: u64,
    bytes: u64,
    /// How often its table was read at all.
    reads: u64,
    unique: bool,
    constraint: bool,
    valid: bool,
    method: String,
    /// Each with its operator class, collation and order.
    columns: Vec<String>,
    /// Columns that it carries along (INCLUDE).
    included: String,
    predicate: String,
}

impl Index {
    fn of(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.get(0),
            table: row.get(1),
            scans: unsigned(row.get(2))?,
            bytes: unsigned(row.get(3))?,
            reads: unsigned(row.get(4))?,
            unique: row.get(5),
            constraint: row.get(6),
            valid: row.get(7),
            method: row.get(8),
            columns: row.get(9),
            included: row.get(10),
            predicate: row.get(11),
        })
    }

    fn ours(&self) -> bool {
        self.constraint || OURS.contains(&self.name.as_str())
    }

    fn unused(&self) -> bool {
        self.scans == 0 && self.reads >= READS_MIN && self.bytes >= BYTES_MIN && !self.unique && !self.ours()
    }

    /// Whether another index answers everything that this one does.
    fn covered_by(&self, other: &Self) -> bool {
        let comparable = self.name != other.name
            && self.table == other.table
            && self.method == other.method
            && self.predicate == other.predicate
            && other.valid
            && !self.ours();
        if !comparable {
            return false;
        }
        if self.columns == other.columns && self.included == other.included {
            // Of two that are the same one goes, and it is never the one that guards something.
            return (!self.unique || other.unique)
                && (other.ours() || self.unique != other.unique || self.name > other.name);
        }
        // The order of columns of a B-tree serves its beginnings too; what guards uniqueness does not give way.
        !self.unique
            && self.method == "btree"
            && self.columns.len() < other.columns.len()
            && other.columns.starts_with(&self.columns)
    }
}

pub(super) async fn look(client: &Client, advice: &mut Advice) -> Result<()> {
    let rows = client.query(INDEXES, &[]).await.map_err(|e| classify(&e))?;
    let indexes: Vec<Index> = rows.iter().map(Index::of).collect::<Result<_>>()?;
    advice.findings.extend(judged(&indexes));
    Ok(())
}

fn judged(indexes: &[Index]) -> Vec<Finding> {
    let mut found = Vec::new();
    for index in indexes {
        let name = format!("{}.{}", index.table, index.name);
        let drop = format!("DROP INDEX CONCURRENTLY nephkeep.{}", index.name);
        if !index.valid {
            let what = "is not valid: it costs writes and answers nothing (its making was interrupted)";
            let remedy = format!("REINDEX INDEX CONCURRENTLY nephkeep.{}, or {drop}", index.name);
            found.push(Finding::new("index-invalid", Verdict::Bad, &name, what.to_owned(), remedy));
        } else if let Some(other) = indexes.iter().find(|other| index.covered_by(other)) {
            let what = format!("{} answers whatever it answers ({} bytes)", other.name, index.bytes);
            found.push(Finding::new("index-duplicate", Verdict::Poor, &name, what, drop));
        } else if index.unused() {
            let what = format!("none of {} reads of its table used it ({} bytes)", index.reads, index.bytes);
            found.push(Finding::new("index-unused", Verdict::Poor, &name, what, drop));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, columns: &[&str]) -> Index {
        Index {
            name: name.into(),
            table: "resource".into(),
            scans: 5,
            bytes: 10 << 20,
            reads: 5_000,
            unique: false,
            constraint: false,
            valid: true,
            method: "btree".into(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            included: "{}".into(),
            predicate: String::new(),
        }
    }

    fn whats(indexes: &[Index]) -> Vec<(String, &'static str)> {
        judged(indexes).into_iter().map(|finding| (finding.on, finding.what)).collect()
    }

    #[test]
    fn of_two_that_are_the_same_one_goes_and_not_the_one_that_guards() {
        let (a, b) = (index("a", &["x", "y"]), index("b", &["x", "y"]));
        assert_eq!(whats(&[a.clone(), b.clone()]), [("resource.b".to_owned(), "index-duplicate")]);
        let guard = Index { unique: true, ..b.clone() };
        assert_eq!(whats(&[a.clone(), guard]), [("resource.a".to_owned(), "index-duplicate")]);
        let ours = Index { constraint: true, unique: true, name: "z".into(), ..b.clone() };
        assert_eq!(whats(&[a.clone(), ours]), [("resource.a".to_owned(), "index-duplicate")]);
        let partial = Index { predicate: "x > 1".into(), ..b.clone() };
        assert_eq!(whats(&[a.clone(), partial]), []);
        assert_eq!(whats(&[a, Index { included: "{y}".into(), ..b }]), []);
    }

    #[test]
    fn a_beginning_of_another_is_covered_unless_it_is_unique() {
        let (short, long) = (index("short", &["x"]), index("long", &["x", "y"]));
        assert_eq!(whats(&[short.clone(), long.clone()]), [("resource.short".to_owned(), "index-duplicate")]);
        assert_eq!(whats(&[Index { unique: true, ..short.clone() }, long.clone()]), []);
        assert_eq!(whats(&[index("tail", &["y"]), long.clone()]), []);
        assert_eq!(whats(&[Index { method: "brin".into(), ..short }, Index { method: "brin".into(), ..long }]), []);
    }

    #[test]
    fn unused_is_said_of_what_is_large_and_old_enough_and_not_ours() {
        let unused = Index { scans: 0, ..index("a", &["x"]) };
        assert_eq!(whats(std::slice::from_ref(&unused)), [("resource.a".to_owned(), "index-unused")]);
        for other in [
            Index { scans: 1, ..unused.clone() },
            Index { bytes: 8_192, ..unused.clone() },
            Index { reads: 10, ..unused.clone() },
            Index { unique: true, ..unused.clone() },
            Index { name: OURS[0].into(), ..unused.clone() },
        ] {
            assert_eq!(whats(std::slice::from_ref(&other)), [], "{other:?}");
        }
        assert_eq!(judged(&[Index { valid: false, ..unused }])[0].verdict, Verdict::Bad);
    }
}
