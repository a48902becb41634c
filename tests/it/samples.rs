//! The sample calls of Zoho's pages, with the clients that the pages show; only the base URL is the gateway's.
//!
//! Each program runs twice: once directly to the sandbox, which shows what the client puts on the wire, and once
//! through the gateway, after which the sandbox must have seen the same.

use crate::support::{Gateway, Sandbox, Seen, Terminator, curl, node, python};

const COURSE: &str = "api/v1/courses/588882000000289003/share";
const CALENDAR: &str = "api/v1/calendars/1683be4ab6c74d2ab02e6440a0b34d4a/share";
const COOKIE: &str = "CSRF_TOKEN=****; _zcsr_tmp=****; _zpsid=****; zalb_c7cb34e6ac=****";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
/// The pages have it next to the samples; behind the gateway it has no meaning and must not be forwarded.
const AUTHORIZATION: &str = "Zoho-oauthtoken 1000.8cb99dxxxxxxxx9be93.9b8xxxxxxf";

const USER: &str = r#"{"mailid":"user@domain.com","privilege":"view","type":"user", "mode":"edit"}"#;
const GROUP: &str = r#"{"zgid": "73369916", "type": "group", "mode": "add", "privilege": "view"}"#;

/// A client's four sample calls, in the order of [`expected`]: each prints the status and then the answer.
type Samples = fn(people: &str, calendar: &str) -> Vec<String>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_the_answers_of_the_pages() {
    gets_the_answers_of_the_pages(with_curl, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_gets_the_answers_of_the_pages_over_tls() {
    gets_the_answers_of_the_pages(with_curl, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_gets_the_answers_of_the_pages() {
    gets_the_answers_of_the_pages(with_requests, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_gets_the_answers_of_the_pages_over_tls() {
    gets_the_answers_of_the_pages(with_requests, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetch_gets_the_answers_of_the_pages() {
    gets_the_answers_of_the_pages(with_fetch, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetch_gets_the_answers_of_the_pages_over_tls() {
    gets_the_answers_of_the_pages(with_fetch, true).await;
}

async fn gets_the_answers_of_the_pages(samples: Samples, tls: bool) {
    let zoho = Sandbox::boundless();
    samples(&zoho.url(), &zoho.url());
    let direct = zoho.requests().await;
    assert_eq!(direct.len(), 4, "{direct:#?}");
    zoho.pull("reset").await;

    let mut setup = Gateway::before(&zoho);
    if tls {
        let front = Terminator::before(zoho.address()).await;
        front.write_authority(&setup.path("ca.pem"));
        setup = setup
            .set("upstream.ca_file", "ca.pem")
            .set("accounts.main.endpoints.accounts", front.url())
            .set("accounts.main.endpoints.people", front.url())
            .set("accounts.main.endpoints.calendar", front.url());
    }
    let gateway = setup.start();
    let base = gateway.url();
    for (printed, expected) in samples(&format!("{base}/people"), &format!("{base}/calendar")).iter().zip(expected()) {
        let (status, body) = printed.trim_end().split_once('\n').expect("a status and an answer");
        assert_eq!(status, "200", "{body}");
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body, expected);
    }

    let forwarded = zoho.requests().await;
    assert_eq!(forwarded.len(), 4, "{forwarded:#?}");
    for (direct, forwarded) in direct.iter().zip(&forwarded) {
        assert_eq!((&forwarded.method, &forwarded.target), (&direct.method, &direct.target));
        assert_eq!(forwarded.body, direct.body);
        assert_eq!(forwarded.header("content-type"), direct.header("content-type"));
        assert_eq!(forwarded.header("user-agent"), direct.header("user-agent"));
        // The page's PUT without a body has no length; behind the gateway it has one (RFC 9110 section 8.6).
        let without_length = direct.method == "PUT" && direct.header("content-length").is_empty();
        let length = if without_length { vec!["0"] } else { direct.header("content-length") };
        assert_eq!(forwarded.header("content-length"), length);
        assert!(direct.header("authorization") == [AUTHORIZATION] && !direct.header("cookie").is_empty());
        assert_signed_by_the_gateway(forwarded);
    }
}

fn assert_signed_by_the_gateway(seen: &Seen) {
    assert_eq!(seen.header("cookie"), Vec::<&str>::new());
    let [authorization] = seen.header("authorization")[..] else { panic!("{seen:?}") };
    assert!(authorization.starts_with("Zoho-oauthtoken 1000.") && authorization != AUTHORIZATION, "{authorization}");
}

/// The pages' answers, with the sandbox's invented employee instead of Henry.
fn expected() -> [serde_json::Value; 4] {
    let updated = serde_json::json!({ "share": [{ "message": "Updated Successfully", "status": "success" }] });
    let users = serde_json::json!([{
        "erecno": "588882000000212025",
        "displayName": "Employee 588882000000212025",
        "employeeId": "588882000000212025",
        "emailId": "employee-588882000000212025@example.com",
        "displayPictureURL": "https://contacts.zoho.com/file?ID=705822094&fs=thumb",
    }]);
    [
        serde_json::json!({ "sharedUsers": users, "code": "200", "message": "success" }),
        // startIndex=1 skips the one employee.
        serde_json::json!({ "sharedUsers": [], "code": "200", "message": "success", "hasMoreRecords": false }),
        updated.clone(),
        updated,
    ]
}

fn with_curl(people: &str, calendar: &str) -> Vec<String> {
    let (course, calendar) = (format!("{people}/{COURSE}"), format!("{calendar}/{CALENDAR}"));
    let (cookie, authorization) = (format!("Cookie: {COOKIE}"), format!("Authorization: {AUTHORIZATION}"));
    let common = ["--header", &cookie, "--header", &authorization, "--write-out", "\n%{http_code}"];
    let call = |arguments: &[&str]| {
        // The status comes first, as with the other clients.
        let printed = curl(&[&common, arguments].concat());
        let (body, status) = printed.rsplit_once('\n').expect("a status");
        format!("{status}\n{body}")
    };
    let list = format!("{course}?startIndex=1");
    let shared = |data: &str| {
        let data = format!("shareData={data}");
        // curl cannot send the page's raw spaces in a URL; -G moves an encoded field into it.
        call(&["-G", "--request", "PUT", &calendar, "--data-urlencode", &data])
    };
    let erecnos = "erecnosList=[588882000000212025]";
    vec![
        call(&["--location", "--request", "PUT", &course, "--header", FORM, "--data-urlencode", erecnos]),
        call(&["--location", "--request", "GET", &list]),
        shared(USER),
        shared(GROUP),
    ]
}

fn with_requests(people: &str, calendar: &str) -> Vec<String> {
    let common = format!(
        "import requests, sys\nurl = sys.argv[1]\nheaders = {{\n\
         \"Content-Type\": \"application/x-www-form-urlencoded\",\n\"Cookie\": \"{COOKIE}\",\n\
         \"Authorization\": \"{AUTHORIZATION}\"\n}}\n"
    );
    let print = "print(response.status_code)\nprint(response.text)\n";
    let share = "payload = \"erecnosList=%5B588882000000212025%5D\"\n\
                 response = requests.put(url, headers=headers, data=payload)\n";
    let list = "del headers[\"Content-Type\"]\nresponse = requests.get(url, headers=headers)\n";
    let calendar_share = "del headers[\"Content-Type\"]\nresponse = requests.put(url, headers=headers)\n";
    let call = |call: &str, url: String| python(&format!("{common}{call}{print}"), &[&url]);
    vec![
        call(share, format!("{people}/{COURSE}")),
        call(list, format!("{people}/{COURSE}?startIndex=1")),
        call(calendar_share, format!("{calendar}/{CALENDAR}?shareData={USER}")),
        call(calendar_share, format!("{calendar}/{CALENDAR}?shareData={GROUP}")),
    ]
}

fn with_fetch(people: &str, calendar: &str) -> Vec<String> {
    let call = |options: &str, url: String| {
        let program = format!(
            "fetch(process.argv[1], {{ {options} }})\n\
             .then(response => (console.log(response.status), response.text()))\n\
             .then(result => console.log(result))\n\
             .catch(error => console.error(error));"
        );
        node(&program, &[&url])
    };
    let headers = format!("\"Cookie\": \"{COOKIE}\", \"Authorization\": \"{AUTHORIZATION}\"");
    let share = format!(
        "method: \"PUT\", headers: {{ \"Content-Type\": \"application/x-www-form-urlencoded\", {headers} }}, \
         body: \"erecnosList=%5B588882000000212025%5D\""
    );
    let list = format!("method: \"GET\", headers: {{ {headers} }}");
    let calendar_share = format!("method: \"PUT\", headers: {{ {headers} }}");
    vec![
        call(&share, format!("{people}/{COURSE}")),
        call(&list, format!("{people}/{COURSE}?startIndex=1")),
        call(&calendar_share, format!("{calendar}/{CALENDAR}?shareData={USER}")),
        call(&calendar_share, format!("{calendar}/{CALENDAR}?shareData={GROUP}")),
    ]
}
