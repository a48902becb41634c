//! Any target: the path that is matched and the path that is sent have the same meaning.

use std::sync::LazyLock;

use http::{HeaderValue, Method, Uri, uri::PathAndQuery};
use oauth2::url::Url;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Matcher, Path, target};
use crate::{
    secret::credential::Credential,
    zoho::{
        account::{Account, AccountName},
        catalogue::Catalogue,
        data_center::DataCenter,
        product::Product,
        share::Share,
    },
};

/// Built once, because building the matcher for each input would take most of the time.
static FIXTURE: LazyLock<(Account, Matcher)> = LazyLock::new(|| {
    let mut endpoints = DataCenter::Us.endpoints();
    *endpoints.product_mut(Product::Calendar) = "http://127.0.0.1:9999".parse().expect("an endpoint");
    let account = Account {
        name: AccountName::new("main"),
        data_center: DataCenter::Us,
        endpoints,
        client_id: String::new(),
        client_secret: Credential::awaited(None),
        refresh_token: Credential::awaited(None),
        daily_calls: None,
        share: Share::WHOLE,
    };
    let matcher = Matcher::new(&Catalogue::published().expect("the catalogue")).expect("no ambiguity");
    (account, matcher)
});

/// Reads three lines, method, `Host` and target, and checks the target that would be sent.
pub fn target(data: &[u8]) {
    let mut lines = data.splitn(3, |byte| *byte == b'\n');
    let (Some(method), Some(host), Some(text)) = (lines.next(), lines.next(), lines.next()) else { return };
    // hyper rejects everything else.
    let (Ok(method), Ok(host), Ok(uri)) =
        (Method::from_bytes(method), HeaderValue::from_bytes(host), Uri::try_from(text))
    else {
        return;
    };
    let (account, matcher) = &*FIXTURE;
    let Ok((product, target)) = target::resolve(account, &uri, host.to_str().ok()) else { return };
    is_unchanged(&target, &uri);
    let Ok(path) = Path::parse(target.path()) else { return };
    leads_to_the_endpoint(account, product, &target, &path);
    reads_the_same(target.path(), &path);

    let route = matcher.known(product, &method, &path);
    let plain: String =
        path.as_str()[1..].split('/').map(|part| format!("/{}", utf8_percent_encode(part, NON_ALPHANUMERIC))).collect();
    let again = Path::parse(&plain).map(|path| matcher.known(product, &method, &path).map(|route| route.id.clone()));
    assert_eq!(again, Ok(route.map(|route| route.id.clone())), "the same path, spelled differently: {plain}");
}

/// Path and query are the caller's byte for byte, except for the product's segment and a second slash after it.
fn is_unchanged(target: &PathAndQuery, uri: &Uri) {
    let own = uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
    let without_product = |product: Product| {
        let rest = own.strip_prefix('/')?.strip_prefix(product.as_str())?;
        let rest =
            rest.strip_prefix('/').filter(|rest| rest.starts_with('/') && !rest.starts_with("//")).unwrap_or(rest);
        Some(if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") })
    };
    let sent = target.as_str();
    assert!(
        sent == own || Product::ALL.into_iter().any(|product| without_product(product).as_deref() == Some(sent)),
        "{own:?} would be sent as {sent:?}"
    );
}

/// Two parsers of the sent URI, one of them the browsers', find the endpoint's host and the matched path.
fn leads_to_the_endpoint(account: &Account, product: Product, target: &PathAndQuery, path: &Path) {
    let endpoint = account.endpoints.product(product);
    let sent = Uri::builder()
        .scheme(endpoint.scheme().clone())
        .authority(endpoint.authority().clone())
        .path_and_query(target.clone())
        .build()
        .expect("a URI, as `forward` makes it")
        .to_string();
    let read: Uri = sent.parse().expect("a URI");
    assert_eq!(read.authority(), Some(endpoint.authority()), "{sent}");
    // Compared as text, because the path of `http://host?a` is empty in one and `/` in the other.
    assert_eq!(read.path_and_query().map(ToString::to_string), Some(target.to_string()), "{sent}");

    let url = Url::parse(&sent).expect("a URL");
    let authority = Url::parse(&endpoint.to_string()).expect("a URL");
    assert_eq!((url.host(), url.port(), url.username()), (authority.host(), authority.port(), ""), "{sent}");
    reads_the_same(url.path(), path);
}

/// Another decoder finds the matched path, whether it splits the path before or after it decodes.
fn reads_the_same(sent: &str, path: &Path) {
    let whole = sent.strip_suffix('/').filter(|whole| !whole.is_empty()).unwrap_or(sent);
    let decoded = percent_decode_str(whole).decode_utf8().expect("UTF-8");
    assert_eq!(decoded, path.as_str(), "{sent}");
    let parts: Vec<_> = whole.split('/').map(|part| percent_decode_str(part).decode_utf8().expect("UTF-8")).collect();
    assert!(parts.iter().map(AsRef::as_ref).eq(decoded.split('/')), "{sent}");
    let odd = |part: &str| part == "." || part == ".." || part.contains(['\\', ';', '\0']);
    assert!(!decoded.split('/').any(odd), "{sent}");
}
