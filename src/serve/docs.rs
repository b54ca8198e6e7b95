//! The page `/docs`: the description of the API for people, written from it when the service starts. No script.

use std::fmt::Write;

use serde_json::Value;

use super::openapi::PROBLEMS;

pub const STYLE: &str = include_str!("docs.css");

/// Kinds of problems beyond those of an error's own kind, with what they mean.
const KINDS: [(&str, &str); 22] = [
    ("invalid", "The request can never work as it is."),
    ("not_found", "What the request names does not exist."),
    ("conflict", "Somebody else holds it, or changed it first."),
    ("denied", "The role of the key does not suffice, or a source says no."),
    ("unauthorised", "No key, an unknown one, or one that has expired."),
    ("signature", "The signature of a call does not count; the detail says why."),
    ("unfit", "The body can be read, and does not fit what the webhook takes."),
    ("paused", "The webhook takes nothing now: send it again later."),
    ("cross-site", "Another site made a browser ask. Programs send a key, or the header X-Tidegate-Request: 1."),
    ("host", "The host is not one of this service: name it under serve.hosts."),
    ("method", "The address does not know the method."),
    ("media-type", "The body is not said to be what the route reads."),
    ("too-large", "The body or the address is too large."),
    ("slow", "The body did not arrive in time."),
    ("timeout", "The request took too long."),
    ("throttled", "Too many requests; ask again after the seconds in Retry-After."),
    ("running", "The same work is under way already."),
    ("quota_gone", "The quota of a source is used up for a longer time."),
    ("transient", "The same request may work a moment later."),
    ("interrupted", "The service is being stopped."),
    ("storage", "The store cannot be read or written."),
    ("bug", "A mistake in Tidegate. The log says more under the id of the request."),
];

/// The whole page.
pub fn page(description: &Value) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Tidegate API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"stylesheet\" href=\"/docs.css\"></head><body><header><h1>Tidegate API</h1>",
    );
    // Writing into a text cannot fail.
    let _ = write!(
        page,
        "<p>Version {}. {} The same for programs: <a href=\"/openapi.json\">/openapi.json</a>.</p></header><nav><ul>",
        escaped(&description["info"]["version"]),
        escaped(&description["info"]["description"]),
    );
    let tags = description["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    for tag in tags {
        let name = escaped(&tag["name"]);
        let _ = write!(page, "<li><a href=\"#tag-{}\">{name}</a></li>", name.replace(' ', "-"));
    }
    page.push_str(
        "<li><a href=\"#access\">access by keys</a></li><li><a href=\"#problems\">problems</a></li>\
         <li><a href=\"#schemas\">schemas</a></li></ul></nav><main>",
    );
    access(&mut page);
    for tag in tags {
        let _ = write!(
            page,
            "<section id=\"tag-{2}\"><h2>{0}</h2><p>{1}</p>",
            escaped(&tag["name"]),
            escaped(&tag["description"]),
            escaped(&tag["name"]).replace(' ', "-"),
        );
        operations(&mut page, description, tag["name"].as_str().unwrap_or_default());
        page.push_str("</section>");
    }
    problems(&mut page);
    schemas(&mut page, description);
    page.push_str("</main></body></html>");
    page
}

fn access(page: &mut String) {
    page.push_str(
        "<section id=\"access\"><h2>access by keys</h2><p>Make a key with <code>tidegate keys create NAME --role \
         read|operate|admin</code> and send it with every request:</p><pre>curl -H 'Authorization: Bearer KEY' \
         http://127.0.0.1:7880/api/v1/session</pre><p>Without any key, whoever is on this machine may do everything; requests \
         that change something then say <code>X-Tidegate-Request: 1</code> or carry JSON. GET takes the role read, everything \
         else operate, and what says so admin.</p></section>",
    );
}

fn operations(page: &mut String, description: &Value, tag: &str) {
    for (path, item) in description["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            if operation["tags"][0].as_str() == Some(tag) {
                one_operation(page, path, method, operation);
            }
        }
    }
}

fn one_operation(page: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        page,
        "<article id=\"{}\"><h3><span class=\"method {method}\">{}</span> <code>{}</code></h3><p>{} {}</p>",
        escaped(&operation["operationId"]),
        method.to_ascii_uppercase(),
        escape(path),
        escaped(&operation["summary"]),
        escaped(&operation["description"]),
    );
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str(
            "<table><thead><tr><th>parameter</th><th>in</th><th>type</th><th>meaning</th></tr></thead><tbody>",
        );
        for parameter in parameters {
            let required = if parameter["required"] == true { " *" } else { "" };
            let _ = write!(
                page,
                "<tr><td><code>{}</code>{required}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escaped(&parameter["name"]),
                escaped(&parameter["in"]),
                type_of(&parameter["schema"]),
                escaped(&parameter["description"]),
            );
        }
        page.push_str("</tbody></table>");
    }
    if let Some((kind, media)) =
        operation["requestBody"]["content"].as_object().and_then(|content| content.iter().next())
    {
        let _ = write!(page, "<p>Body: {} as <code>{}</code></p>", type_of(&media["schema"]), escape(kind));
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        if response.get("$ref").is_some() {
            continue;
        }
        let content = response["content"].as_object().into_iter().flatten();
        let bodies: Vec<String> = content
            .map(|(kind, media)| format!("{} as <code>{}</code>", type_of(&media["schema"]), escape(kind)))
            .collect();
        let _ = write!(page, "<p>{} {} {}</p>", escape(status), escaped(&response["description"]), bodies.join(" or "));
    }
    page.push_str("</article>");
}

fn problems(page: &mut String) {
    page.push_str("<section id=\"problems\"><h2>problems</h2><p>Any route may answer with these:</p><dl>");
    for (status, _, about) in PROBLEMS {
        let _ = write!(page, "<dt>{status}</dt><dd>{}</dd>", escape(about));
    }
    page.push_str("</dl><p>The field <code>type</code> names the kind:</p><dl>");
    for (name, about) in KINDS {
        let _ = write!(page, "<dt id=\"problem-{name}\"><code>{name}</code></dt><dd>{}</dd>", escape(about));
    }
    page.push_str("</dl></section>");
}

fn schemas(page: &mut String, description: &Value) {
    page.push_str("<section id=\"schemas\"><h2>schemas</h2>");
    for (name, schema) in description["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = write!(
            page,
            "<article id=\"schema-{0}\"><h3><code>{0}</code></h3><p>{1}</p>",
            escape(name),
            escaped(&schema["description"])
        );
        let parts = schema["allOf"].as_array().into_iter().flatten().chain([schema]);
        let mut rows = String::new();
        for part in parts {
            let required = part["required"].as_array().map(Vec::as_slice).unwrap_or_default();
            for (field, inner) in part["properties"].as_object().into_iter().flatten() {
                let star = if required.iter().any(|name| name.as_str() == Some(field)) { " *" } else { "" };
                let _ = write!(
                    rows,
                    "<tr><td><code>{}</code>{star}</td><td>{}</td><td>{}</td></tr>",
                    escape(field),
                    type_of(inner),
                    escaped(&inner["description"]),
                );
            }
        }
        if rows.is_empty() {
            let _ = write!(page, "<p>{}</p></article>", type_of(schema));
        } else {
            let head = "<table><thead><tr><th>field</th><th>type</th><th>meaning</th></tr></thead><tbody>";
            let _ = write!(page, "{head}{rows}</tbody></table></article>");
        }
    }
    page.push_str("</section>");
}

/// A schema in one line.
fn type_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return format!("<a href=\"#schema-{0}\">{0}</a>", escape(name));
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(choices) = schema[choice].as_array() {
            return choices.iter().map(type_of).collect::<Vec<_>>().join(if choice == "allOf" {
                " with "
            } else {
                " or "
            });
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(|value| format!("<code>{}</code>", escaped(value))).collect::<Vec<_>>().join(" or ");
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", type_of(&schema["items"])),
        Value::Array(names) => names.iter().map(escaped).collect::<Vec<_>>().join(" or "),
        Value::String(name) => match schema["format"].as_str() {
            Some(format) => format!("{} ({})", escape(name), escape(format)),
            None => escape(name),
        },
        _ => "anything".to_string(),
    }
}

fn escaped(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => escape(text),
        other => escape(&other.to_string()),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
