//! The record's stored vectors as tests look at them, and do them harm.

use crate::postgresql::connect;
use tokio_postgres::Config;

pub async fn count(database: &Config) -> i64 {
    let client = connect(database).await.unwrap();
    client.query_one("SELECT count(*) FROM nephkeep.embedding", &[]).await.unwrap().get(0)
}

/// What lies in the table.
pub async fn sealed(database: &Config) -> Vec<Vec<u8>> {
    let client = connect(database).await.unwrap();
    let rows = client.query("SELECT sealed FROM nephkeep.embedding", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// One bit of one of them.
pub async fn flip(database: &Config) {
    let flip = "UPDATE nephkeep.embedding SET sealed = set_byte(sealed, 90, get_byte(sealed, 90) # 1)
        WHERE address = (SELECT address FROM nephkeep.embedding LIMIT 1)";
    run(database, flip).await;
}

/// All of them once more, under another model's name.
pub async fn copied_for(database: &Config, model: &str) {
    let copy = format!(
        "INSERT INTO nephkeep.embedding
        SELECT tenant, subject, '{model}', address, dimensions, n, sealed FROM nephkeep.embedding"
    );
    run(database, &copy).await;
}

async fn run(database: &Config, text: &str) {
    let client = connect(database).await.unwrap();
    client.batch_execute(&format!("BEGIN ISOLATION LEVEL READ COMMITTED; {text}; COMMIT")).await.unwrap();
}
