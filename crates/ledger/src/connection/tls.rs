//! TLS to PostgreSQL with libpq's modes: encrypted only, chain verified, chain and name verified.

use model::{Error, Result};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_postgres_rustls::MakeRustlsConnect;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verification {
    /// `prefer` and `require`: against listeners, not against impostors.
    None,
    /// `verify-ca`: a certificate of our authority, whatever name it bears.
    Chain {
        root: Option<PathBuf>,
    },
    Full {
        root: Option<PathBuf>,
    },
}

pub(super) fn connector(verification: &Verification) -> Result<MakeRustlsConnect> {
    // Named, not the process's default: the library works whether or not main installed one.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::bug("no TLS protocol version is available").caused_by(e))?;
    let config = match verification {
        Verification::Full { root } => builder.with_root_certificates(roots(root.as_deref())?).with_no_client_auth(),
        Verification::Chain { root } => {
            let inner =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots(root.as_deref())?), Arc::clone(&provider));
            let inner = inner.build().map_err(|e| no_roots(root.as_deref()).caused_by(e))?;
            let verifier = Arc::new(Lenient { inner: Some(inner), provider });
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        Verification::None => {
            let verifier = Arc::new(Lenient { inner: None, provider });
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

/// The certificates of a file, or those the operating system trusts.
fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match file {
        Some(path) => {
            let certificates = CertificateDer::pem_file_iter(path).map_err(|e| no_roots(file).caused_by(e))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| no_roots(file).caused_by(e))?;
                store.add(certificate).map_err(|e| no_roots(file).caused_by(e))?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() { Err(no_roots(file)) } else { Ok(store) }
}

fn no_roots(file: Option<&Path>) -> Error {
    let message = "there is no usable root certificate to verify PostgreSQL with; give one with sslrootcert (PEM)";
    let place = file.map_or_else(|| "the system's trust store".to_owned(), |path| path.display().to_string());
    Error::refused("record-tls-failed", message).with("looked in", place)
}

/// Verifies less than a browser does, as the URL's mode says: the chain but not the name, or neither.
#[derive(Debug)]
struct Lenient {
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is checked last: everything else about the certificate held.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
