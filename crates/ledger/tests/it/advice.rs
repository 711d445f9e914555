//! Advice, against a real PostgreSQL in which something is wrong.

use crate::opened::{Opened, quick};
use ledger::{
    Op, Settings,
    advice::{Advice, StatementsState},
};
use std::time::Duration;

fn found<'a>(advice: &'a Advice, what: &str) -> Vec<&'a str> {
    advice.findings.iter().filter(|finding| finding.what == what).map(|finding| finding.on.as_str()).collect()
}

/// The view of statements is there; `false` where the installation has none.
async fn counting(opened: &Opened) -> bool {
    let state = async {
        loop {
            match opened.ledger.advise().await.unwrap().statements_state {
                StatementsState::Counted => return true,
                StatementsState::NotLoaded => return false,
                StatementsState::NotCreated => tokio::task::yield_now().await,
            }
        }
    };
    let counted = tokio::time::timeout(Duration::from_secs(60), state).await.unwrap();
    if !counted {
        testkit::skipped::skipped("this PostgreSQL has no pg_stat_statements");
    }
    counted
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_garbage_and_scans_are_named_and_a_healthy_record_is_not() {
    let opened = Opened::new().await;
    opened.one("a", Op::Put, "1").await.unwrap();
    let healthy = opened.ledger.advise().await.unwrap();
    let spoken = ["statements-not-counted", "baseline-missing"];
    let others: Vec<_> = healthy.findings.iter().filter(|finding| !spoken.contains(&finding.what)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(healthy.tables.iter().any(|table| table.table == "resource"), "{:?}", healthy.tables);
    assert!(healthy.tables.iter().all(|table| !table.table.starts_with("change_p")), "told with their parent");
    // An index of a later migration has to be told to the advice, which would call it unused.
    let made =
        "SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'nephkeep' AND NOT c.relispartition
            AND NOT x.indisunique";
    let made: String = opened.sql().await.query_one(made, &[]).await.unwrap().get(0);
    assert_eq!(made, "audit_at audit_n name_index_blind resource_page");

    let harm = "ALTER TABLE nephkeep.resource SET (autovacuum_enabled = false);
        INSERT INTO nephkeep.resource (tenant, kind, id, version, ordinal, n, created_n, deleted, class, subject, key_id,
            content_tag) SELECT 'z', 99, n::text, 1, 1, n, n, false, 1, 'z', 1, '' FROM generate_series(1, 120000) n;
        DELETE FROM nephkeep.resource WHERE kind = 99 AND n <= 70000;
        CREATE INDEX twice ON nephkeep.resource (tenant, kind, id);
        CREATE INDEX nobodys ON nephkeep.resource (n, version);
        CREATE INDEX half ON nephkeep.resource (key_id);
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'nephkeep.half'::regclass;
        SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off;
        DO $$ BEGIN FOR i IN 1..12 LOOP PERFORM count(*) FROM nephkeep.resource WHERE kind = 98; END LOOP; END $$;
        SET enable_seqscan = off; SET enable_indexscan = on; SET enable_indexonlyscan = on;
        DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM FROM nephkeep.resource WHERE tenant = 'z' AND kind = 99 AND id = '1';
            END LOOP; END $$;
        SELECT pg_stat_force_next_flush()";
    opened.sql().await.batch_execute(harm).await.unwrap();
    let advice = opened.ledger.advise().await.unwrap();
    assert_eq!(found(&advice, "index-duplicate"), ["resource.twice"], "{:?}", advice.findings);
    assert_eq!(found(&advice, "index-unused"), ["resource.nobodys"], "{:?}", advice.findings);
    assert_eq!(found(&advice, "index-invalid"), ["resource.half"]);
    assert_eq!(found(&advice, "dead-rows"), ["resource"], "{:?}", advice.tables);
    assert_eq!(found(&advice, "sequential-scans"), ["resource"], "{:?}", advice.tables);
    assert!(advice.findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.verdict)));
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_gets_worse_is_named_against_the_kept_baseline() {
    let opened = Opened::on(crate::shared::database().await, Settings { flock: true, ..quick() }).await;
    if !counting(&opened).await {
        return;
    }
    let sql = opened.sql().await;
    let make = "CREATE TABLE public.things (id int, name text);
        INSERT INTO public.things SELECT n, repeat('x', 200) FROM generate_series(1, 20000) n;
        CREATE INDEX things_id ON public.things (id); ANALYZE public.things";
    sql.batch_execute(make).await.unwrap();
    let read = sql.prepare("SELECT name FROM public.things WHERE id = $1").await.unwrap();
    let ask = async || {
        for id in 1..=60_i32 {
            sql.query_one(&read, &[&id]).await.unwrap();
        }
    };
    ask().await;
    assert_eq!(found(&opened.ledger.advise().await.unwrap(), "baseline-missing"), ["baseline"]);
    let kept = opened.ledger.keep_baseline().await.unwrap();
    let good = opened.ledger.advise().await.unwrap();
    assert_eq!(good.baseline.map(|baseline| baseline.statements), Some(kept));
    ask().await;
    let same = opened.ledger.advise().await.unwrap();
    assert_eq!(found(&same, "plan-regression"), [""; 0], "{:?}", same.findings);
    sql.batch_execute("DROP INDEX public.things_id").await.unwrap();
    ask().await;
    let worse = opened.ledger.advise().await.unwrap();
    let regressions: Vec<_> = worse.findings.iter().filter(|finding| finding.what == "plan-regression").collect();
    assert!(regressions.len() == 1 && regressions[0].found.contains("public.things"), "{:?}", worse.findings);
    assert!(worse.statements.iter().any(|one| one.query.contains("public.things") && one.calls == 120));
    // It is durable, and replaced as a whole.
    opened.ledger.keep_baseline().await.unwrap();
    let next = opened.beside(quick()).await;
    let anew = next.ledger.advise().await.unwrap();
    assert!(anew.baseline.is_some() && found(&anew, "plan-regression").is_empty(), "{:?}", anew.findings);
    next.ledger.close().await;
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_view_of_statements_it_is_said_how_to_get_it_and_no_baseline_is_kept() {
    let opened = Opened::new().await;
    let advice = opened.ledger.advise().await.unwrap();
    assert_ne!(advice.statements_state, StatementsState::Counted);
    let told = advice.findings.iter().find(|finding| finding.what == "statements-not-counted").unwrap();
    assert!(told.remedy.contains("CREATE EXTENSION pg_stat_statements"), "{told:?}");
    let refused = opened.ledger.keep_baseline().await.unwrap_err();
    assert_eq!(refused.code(), "statements-not-counted");
    opened.ledger.close().await;
}
