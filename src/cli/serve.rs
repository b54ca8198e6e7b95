//! `tidegate serve --mirror`: the store in a source's own dialect, for the clients that people already use.

use super::context::Context;
use super::progress::stop_on_signal;
use crate::mirror::tushare::{Account, MirrorOptions};
use crate::model::{Error, Result};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate serve --mirror
  tidegate serve --mirror --listen 127.0.0.1:0 --set mirror.tokens='[\"secret:5000\"]'

In Python, the official client reads from it after one line:
  pro = tushare.pro_api('any'); pro._DataApi__http_url = 'http://127.0.0.1:7878'")]
pub struct Args {
    /// Answer Tushare's dialect
    #[arg(long, required = true)]
    mirror: bool,
    /// Address and port; port 0 takes a free one [default: mirror.listen]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    debug_assert!(args.mirror, "the only thing to serve");
    let store = context.store().await?;
    let listen = args.listen.as_deref().unwrap_or(&context.options().mirror.listen);
    let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| {
        let message = format!("listening on {listen} failed: {error}");
        Error::invalid(message)
            .caused_by(error)
            .hint("choose another port with --listen, or 127.0.0.1:0 for a free one")
    })?;
    let address = listener.local_addr().map_err(|error| Error::bug("a listener has no address").caused_by(error))?;
    let options = options(context);
    check_exposure(&address, &options)?;
    let router = crate::mirror::tushare::router(store, context.catalog.clone(), options, context.clock.clone());
    eprintln!("serving the Tushare dialect on http://{address}; Ctrl-C ends it");
    if context.json {
        context.print_json(&serde_json::json!({ "url": format!("http://{address}") }))?;
    }
    let stop = stop_on_signal();
    crate::mirror::serve(listener, router, async move { stop.wait().await }).await?;
    Ok(0)
}

fn options(context: &Context) -> MirrorOptions {
    let mirror = &context.options().mirror;
    let account = |(token, points): (crate::config::Secret, Option<u32>)| Account {
        token: token.expose().to_string(),
        points: points.unwrap_or(u32::MAX),
    };
    MirrorOptions {
        accounts: mirror.accounts().into_iter().map(account).collect(),
        enforce_points: mirror.enforce_points,
        enforce_quota: mirror.enforce_quota,
        caps: mirror.enforce_caps,
        rows_max: mirror.rows_max,
        body_bytes_max: mirror.body_kb_max as usize * 1024,
        read: context.read_options(),
        ..MirrorOptions::default()
    }
}

/// Beyond this machine, nobody is served without a token.
fn check_exposure(address: &std::net::SocketAddr, options: &MirrorOptions) -> Result<()> {
    if address.ip().is_loopback() || !options.accounts.is_empty() {
        return Ok(());
    }
    let message = format!("{address} can be reached from other machines, and any token would be let in");
    Err(Error::invalid(message).hint("set mirror.tokens, or listen on 127.0.0.1"))
}
