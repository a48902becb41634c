//! `[issuers.NAME]`: who issues callers' tokens.

use http::Uri;

use super::{
    accounts,
    credential::Surroundings,
    reader::{Section, some_text},
    sections,
};
use crate::{
    message::host,
    middleware::caller::{ALGORITHMS, IssuerSettings, KeySet, KeySource},
};

/// Reads every issuer, in the order of the file. Also returns all names, so that a caller with the name of an issuer that
/// has a mistake does not get a second message.
pub(super) fn read(root: &mut Section<'_>, around: &Surroundings<'_>) -> (Vec<IssuerSettings>, Vec<String>) {
    let (mut seen, mut names): (Vec<String>, Vec<String>) = Default::default();
    let issuers = root.sections("issuers", |name, section| {
        names.push(name.to_owned());
        if !accounts::is_a_name(name) {
            section.refuse("expected an issuer's name of 1 to 64 letters, digits, _ and -");
        }
        let issuer = section.parsed("issuer", some_text);
        if let Some(found) = &issuer {
            if seen.contains(&found.value) {
                section.wrong("issuer", &found.origin, "is another issuer's too: which of the two would be believed?");
            }
            seen.push(found.value.clone());
        }
        let audiences = section.list("audience", some_text).into_iter().flatten();
        let audiences = audiences.map(|found| found.value).collect();
        let algorithms = algorithms(section);
        let keys = keys(section, around);
        Some(IssuerSettings { name: name.to_owned(), issuer: issuer?.value, audiences, algorithms, keys: keys? })
    });
    (issuers.into_iter().flatten().collect(), names)
}

fn algorithms(section: &mut Section<'_>) -> Vec<jsonwebtoken::Algorithm> {
    let words = ALGORITHMS.map(|(word, _)| word).join(", ");
    let parse = |text: &str| match ALGORITHMS.iter().find(|(word, _)| *word == text) {
        Some((_, algorithm)) => Ok(*algorithm),
        None => Err(format!("expected some of {words}; others are never taken, HS256 and none least of all")),
    };
    match section.list("algorithms", parse) {
        Some(found) => found.into_iter().map(|found| found.value).collect(),
        None => ALGORITHMS.map(|(_, algorithm)| algorithm).to_vec(),
    }
}

/// The source of its keys: a URL or a file.
fn keys(section: &mut Section<'_>, around: &Surroundings<'_>) -> Option<KeySource> {
    let places = ["jwks_url", "jwks_file"].map(|key| section.whereabouts(key));
    let url = section.parsed("jwks_url", url);
    let file = section.path("jwks_file", |path| {
        around
            .in_file(path, |path| KeySet::in_file(path)?.with_a_key())
            .map(|(path, keys)| KeySource::File { path, keys })
    });
    let of_url = ["ca_file", "refresh"].map(|key| (key, section.whereabouts(key)));
    let extra_roots = sections::extra_roots(section, "ca_file", around);
    let refresh = section.value("refresh");
    match places {
        [Some(_), None] => Some(KeySource::Url { url: url?.value, extra_roots, refresh }),
        [None, Some(_)] => {
            for (key, origin) in of_url {
                if let Some(origin) = origin {
                    section.wrong(key, &origin, "is for jwks_url; a jwks_file is read again every 5 s by itself");
                }
            }
            Some(file?.value)
        }
        _ => {
            section.refuse("expected its public keys: either jwks_url or jwks_file");
            None
        }
    }
}

/// An attacker who can change the keys in transit can pose as any caller, so other machines need https.
fn url(text: &str) -> Result<Uri, &'static str> {
    let expected = "expected a URL such as https://issuer.example.org/jwks.json; http:// only for this machine itself";
    let url: Uri = text.parse().map_err(|_| expected)?;
    let authority = url.authority().ok_or(expected)?;
    let name = authority.host().trim_matches(['[', ']']);
    let scheme = match url.scheme_str() {
        Some("https") => true,
        Some("http") => host::is_loopback(name),
        _ => false,
    };
    if scheme && !name.is_empty() && !authority.as_str().contains('@') { Ok(url) } else { Err(expected) }
}
