//! Certificates, signing requests, identities and roles
