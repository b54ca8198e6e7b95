//! `tidegate serve --mirror`: the store in a source's own dialect, for the clients that people already use.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;

use super::context::Context;
use super::progress::stop_on_signal;
use crate::engine::Stop;
use crate::mirror::aktools::AktoolsOptions;
use crate::mirror::tushare::{Account, MirrorOptions};
use crate::model::{Error, Result};
use crate::store::Store;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate serve --mirror
  tidegate serve --mirror tushare,aktools
  tidegate serve --mirror --listen 127.0.0.1:0 --set mirror.tokens='[\"secret:5000\"]'

In Python, the official client reads from it after one line:
  pro = tushare.pro_api('any'); pro._DataApi__http_url = 'http://127.0.0.1:7878'

Users of AKTools change the address only:
  requests.get('http://127.0.0.1:8080/api/public/stock_zh_a_hist', params={'symbol': '600519'}).json()")]
pub struct Args {
    /// Answer these dialects, by commas; Tushare's when none is named
    #[arg(
        long,
        required = true,
        num_args = 0..=1,
        value_delimiter = ',',
        default_missing_value = "tushare",
        value_name = "DIALECTS"
    )]
    mirror: Vec<Dialect>,
    /// Address and port of the only mirror; port 0 takes a free one [default: mirror.listen and its like]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Dialect {
    Tushare,
    Aktools,
}

impl Dialect {
    fn name(self) -> &'static str {
        match self {
            Dialect::Tushare => "tushare",
            Dialect::Aktools => "aktools",
        }
    }

    /// The address from the configuration.
    fn listen(self, context: &Context) -> &str {
        let mirror = &context.options().mirror;
        match self {
            Dialect::Tushare => &mirror.listen,
            Dialect::Aktools => &mirror.aktools_listen,
        }
    }

    fn router(self, context: &Context, store: Arc<dyn Store>) -> Router {
        let catalog = context.catalog.clone();
        match self {
            Dialect::Tushare => crate::mirror::tushare::router(store, catalog, options(context), context.clock.clone()),
            Dialect::Aktools => {
                crate::mirror::aktools::router(store, catalog, aktools_options(context), context.clock.clone())
            }
        }
    }
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    if args.listen.is_some() && args.mirror.len() > 1 {
        return Err(Error::invalid("--listen names one address, and several mirrors are asked for")
            .hint("set mirror.listen and mirror.aktools_listen instead"));
    }
    let store = context.store().await?;
    let (mut bound, mut urls) = (Vec::new(), serde_json::Map::new());
    for dialect in &args.mirror {
        let listen = args.listen.as_deref().unwrap_or_else(|| dialect.listen(context));
        let (listener, address) = bind(context, listen).await?;
        eprintln!("serving the dialect of {} on http://{address}; Ctrl-C ends it", dialect.name());
        urls.insert(dialect.name().to_string(), format!("http://{address}").into());
        bound.push((listener, dialect.router(context, store.clone())));
    }
    if context.json {
        let first = args.mirror.first().and_then(|dialect| urls.get(dialect.name()));
        context.print_json(&serde_json::json!({ "url": first, "mirrors": urls }))?;
    }
    let stop = stop_on_signal();
    futures::future::try_join_all(bound.into_iter().map(|(listener, router)| serve(listener, router, &stop))).await?;
    Ok(0)
}

async fn bind(context: &Context, listen: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        let message = format!("listening on {listen} failed: {error}");
        Error::invalid(message)
            .caused_by(error)
            .hint("choose another port with --listen, or 127.0.0.1:0 for a free one")
    })?;
    let address = listener.local_addr().map_err(|error| Error::bug("a listener has no address").caused_by(error))?;
    check_exposure(&address, &options(context))?;
    Ok((listener, address))
}

async fn serve(listener: TcpListener, router: Router, stop: &Stop) -> Result<()> {
    let stop = stop.clone();
    crate::mirror::serve(listener, router, async move { stop.wait().await }).await
}

/// The tokens are the same for every mirror.
fn aktools_options(context: &Context) -> AktoolsOptions {
    let mirror = &context.options().mirror;
    AktoolsOptions {
        tokens: mirror.accounts().iter().map(|(token, _)| token.expose().to_string()).collect(),
        rows_max: mirror.rows_max,
        read: context.read_options(),
        ..AktoolsOptions::default()
    }
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
