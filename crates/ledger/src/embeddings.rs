//! Vectors of texts, as the record keeps them: addressed by content under a key of the subject's, sealed under the
//! subject's key (RECORD 7, 8). What was asked of a server once is never asked again, a rebuild asks nobody, and an
//! erasure takes the vectors along with the texts.
//!
//! Here is only what a copy is made from: nothing leaves the process, and nothing is in the log.

use crate::{
    Ledger,
    read::rows::{Tenants, envelope, signed},
};
use audit::AccessNote;
use bytes::Bytes;
use keys::{Bound, KeyId, Keystore, Opened};
use model::{Class, Error, Kind, Position, ResourceKey, Result, Subject, Tenant};
use std::{fmt, sync::Arc};

/// Of the associated data of an envelope.
const DATASET: &str = "embedding";
/// Whose reading the access entries show.
const PRINCIPAL: &str = "nephkeep";

const FIND: &str = "
    SELECT a.ord, e.sealed
    FROM unnest($4::bytea[]) WITH ORDINALITY AS a(address, ord)
    JOIN LATERAL (
        SELECT sealed FROM nephkeep.embedding e
        WHERE e.tenant = $1 AND e.subject = $2 AND e.model = $3 AND e.address = a.address OFFSET 0
    ) e ON true";

/// Of a subject that is being erased nothing is stored.
const KEEP: &str = "
    INSERT INTO nephkeep.embedding (tenant, subject, model, address, dimensions, n, sealed)
    SELECT s.tenant, s.subject, $3, e.address, $4, $5, e.sealed
    FROM nephkeep.subject s, unnest($7::bytea[], $8::bytea[]) AS e(address, sealed)
    WHERE s.tenant = $1 AND s.subject = $2 AND s.state = 0 AND s.key_id = $6
    ON CONFLICT DO NOTHING";

const FORGET: &str = "
    DELETE FROM nephkeep.embedding
    WHERE tenant = $1 AND subject = $2 AND model = $3 AND address = ANY ($4::bytea[])";

const ERASED: &str = "
    DELETE FROM nephkeep.embedding e USING (
        SELECT e.tenant, e.subject, e.model, e.address
        FROM nephkeep.subject s JOIN nephkeep.embedding e ON e.tenant = s.tenant AND e.subject = s.subject
        WHERE s.state <> 0 LIMIT $1
    ) gone
    WHERE (e.tenant, e.subject, e.model, e.address) = (gone.tenant, gone.subject, gone.model, gone.address)
    RETURNING 1";

const PAGE: &str = "
    SELECT tenant, subject, model, address FROM nephkeep.embedding
    WHERE (tenant, subject, model, address) > ($1, $2, $3, $4) AND n < $5
    ORDER BY tenant, subject, model, address LIMIT $6";

/// Where a text's vector stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub [u8; 32]);

/// A row of the table, without its vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEmbedding {
    pub tenant: Tenant,
    pub subject: Subject,
    pub model: String,
    pub address: Address,
}

/// The vectors of one subject by one model.
#[derive(Clone)]
pub struct Embeddings {
    ledger: Ledger,
    keystore: Arc<Keystore>,
    tenant: Tenant,
    subject: Subject,
    key: KeyId,
    model: Arc<str>,
    dimensions: usize,
}

impl fmt::Debug for Embeddings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embeddings").field("subject", &self.subject).field("model", &self.model).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Refused for a subject that is erased or being erased.
    pub async fn embeddings(
        &self,
        tenant: &Tenant,
        subject: &Subject,
        model: &str,
        dimensions: usize,
    ) -> Result<Embeddings> {
        let record = self.record();
        let key = record.subject_key(tenant, subject).await?.key;
        let (ledger, keystore) = (self.clone(), Arc::clone(&record.keystore));
        let (tenant, subject, model) = (tenant.clone(), subject.clone(), model.into());
        Ok(Embeddings { ledger, keystore, tenant, subject, key, model, dimensions })
    }

    /// The texts of these are given to somebody for a purpose: their access entries first, durable by class.
    pub async fn texts_given(&self, purpose: &str, texts: &[(Tenant, Position, Class)]) -> Result<()> {
        let (principal, purpose): (Arc<str>, Arc<str>) = (PRINCIPAL.into(), purpose.into());
        let note = |(tenant, position, class): &(Tenant, Position, Class)| AccessNote {
            principal: Arc::clone(&principal),
            tenant: tenant.shared(),
            purpose: Arc::clone(&purpose),
            class: *class,
            position: *position,
        };
        self.record().log.note(texts.iter().map(note))?.released().await
    }

    /// Rows older than `n`, in the order of their addresses, after one of them.
    pub async fn embeddings_page(
        &self,
        after: Option<&KeptEmbedding>,
        n: u64,
        limit: u32,
    ) -> Result<Vec<KeptEmbedding>> {
        let (tenant, subject, model, address) = after.map_or(("", "", "", &[][..]), |after| {
            (after.tenant.as_str(), after.subject.as_str(), &*after.model, &after.address.0[..])
        });
        let rows = self.rows(PAGE, &[&tenant, &subject, &model, &address, &signed(n), &i64::from(limit)]).await?;
        let mut tenants = Tenants::default();
        let row = |row: &tokio_postgres::Row| {
            Ok(KeptEmbedding {
                tenant: tenants.of(row, 0)?,
                subject: Subject::from_stored(row.get(1)),
                model: row.get(2),
                address: address_of(row.get(3))?,
            })
        };
        rows.iter().map(row).collect()
    }

    /// Removes rows of one subject and model.
    pub async fn embeddings_forget(&self, of: &KeptEmbedding, addresses: &[Address]) -> Result<()> {
        forget(self, (&of.tenant, &of.subject, &of.model), addresses).await
    }

    /// Removes what erased subjects have left, at most so many rows at a time: noise since their key is gone.
    pub async fn embeddings_of_erased(&self, limit: u32) -> Result<usize> {
        self.write_apart(ERASED, &[&i64::from(limit)]).await.map(|rows| rows.len())
    }
}

fn address_of(bytes: &[u8]) -> Result<Address> {
    let malformed =
        || Error::corrupt("row-malformed", "a stored address has the wrong length").with("bytes", bytes.len());
    bytes.try_into().map(Address).map_err(|_| malformed())
}

async fn forget(
    ledger: &Ledger,
    (tenant, subject, model): (&Tenant, &Subject, &str),
    addresses: &[Address],
) -> Result<()> {
    let addresses: Vec<&[u8]> = addresses.iter().map(|address| &address.0[..]).collect();
    ledger.write_apart(FORGET, &[&tenant.as_str(), &subject.as_str(), &model, &addresses]).await.map(drop)
}

impl Embeddings {
    #[must_use]
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Where the vector of this text stands.
    pub fn address(&self, text: &str) -> Result<Address> {
        let mut bytes = Vec::with_capacity(8 + self.model.len() + text.len());
        bytes.extend((self.model.len() as u64).to_be_bytes());
        bytes.extend(self.model.as_bytes());
        bytes.extend(text.as_bytes());
        self.keystore.blind(self.key, "embedding", &bytes).map(Address)
    }

    /// What is kept at these addresses, sealed, each in its place.
    pub async fn find(&self, addresses: &[Address]) -> Result<Vec<Option<Bytes>>> {
        let wanted: Vec<&[u8]> = addresses.iter().map(|address| &address.0[..]).collect();
        let (tenant, subject) = (self.tenant.as_str(), self.subject.as_str());
        let rows = self.ledger.rows(FIND, &[&tenant, &subject, &&*self.model, &wanted]).await?;
        let mut found = vec![None; addresses.len()];
        for row in &rows {
            let at = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            if let Some(place) = found.get_mut(at) {
                *place = envelope(row, 1);
            }
        }
        Ok(found)
    }

    fn place(&self, address: &Address) -> Result<ResourceKey> {
        ResourceKey::new(&self.tenant, Kind::KnowledgeDocument, &format!("{}/{}", self.model, hex::encode(address.0)))
    }

    /// In clear; takes processor time. `subject-erased` once the key is destroyed.
    pub fn open(&self, address: &Address, sealed: &[u8]) -> Result<Vec<f32>> {
        let place = self.place(address)?;
        let bound = Bound { dataset: DATASET, key: &place, version: self.dimensions as u64 };
        match self.keystore.open_envelope(bound, sealed)? {
            Opened::Clear(bytes) if bytes.len() == self.dimensions * 4 => {
                Ok(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
            }
            Opened::Clear(bytes) => {
                let what = "a stored vector has another length than its model's vectors have";
                Err(Error::corrupt("row-malformed", what).with("bytes", bytes.len()))
            }
            Opened::Erased => Err(crate::subjects::erased()),
        }
    }

    /// Keeps vectors. What another server has kept meanwhile stays; who needs what is kept now asks `find`.
    pub async fn keep(&self, vectors: &[(Address, &[f32])]) -> Result<()> {
        let (mut addresses, mut sealed): (Vec<&[u8]>, Vec<Bytes>) = (Vec::new(), Vec::new());
        for (address, vector) in vectors {
            let place = self.place(address)?;
            let bound = Bound { dataset: DATASET, key: &place, version: self.dimensions as u64 };
            let clear: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            addresses.push(&address.0);
            sealed.push(self.keystore.seal(self.key, Class::Internal, bound, &clear)?.envelope);
        }
        let record = self.ledger.record();
        record.mark_keystore().await?;
        let sealed: Vec<&[u8]> = sealed.iter().map(|envelope| &envelope[..]).collect();
        let (dimensions, n) = (i32::try_from(self.dimensions).unwrap_or(i32::MAX), signed(record.published.get()));
        let (tenant, subject, key) = (self.tenant.as_str(), self.subject.as_str(), self.key.0.cast_signed());
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] =
            [&tenant, &subject, &&*self.model, &dimensions, &n, &key, &addresses, &sealed];
        self.ledger.write_apart(KEEP, &parameters).await.map(drop)
    }

    /// Of vectors that do not open any more: they are made anew.
    pub async fn forget(&self, addresses: &[Address]) -> Result<()> {
        forget(&self.ledger, (&self.tenant, &self.subject, &self.model), addresses).await
    }
}
