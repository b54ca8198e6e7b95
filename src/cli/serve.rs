//! `tidegate serve`: jobs, API, dashboard and mirrors over one store.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use super::carrying;
use super::context::Context;
use super::progress::stop_on_signal;
use crate::config::{self, Explained};
use crate::engine::{Engines, Stop};
use crate::feed::{Feed, FeedOptions};
use crate::intake::relay::Relay;
use crate::intake::{self, Keeper};
use crate::log::JournalOptions;
use crate::mirror::aktools::AktoolsOptions;
use crate::mirror::tushare::{Account, MirrorOptions};
use crate::model::{Error, Result};
use crate::notify::Dispatcher;
use crate::notify::client::{Client, SystemNames};
use crate::publish::Publisher;
use crate::scheduler::{ByClock, Scheduler};
use crate::serve::cache::{Cache, CacheOptions, Fresh, RedisOptions};
use crate::serve::live::{Live, SocketOptions};
use crate::serve::{Memory, Parts, ServeOptions, Service, Setting};
use crate::store::Store;

/// In which everything that was drained may be written down.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The languages that the store is served in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Dialect {
    Tushare,
    Baostock,
    Aktools,
}

impl Dialect {
    fn name(self) -> &'static str {
        match self {
            Dialect::Tushare => "tushare",
            Dialect::Baostock => "baostock",
            Dialect::Aktools => "aktools",
        }
    }
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    /// Everything
    All,
    /// API, dashboard and mirrors; other processes work
    Api,
    /// Jobs and runs; other processes answer
    Worker,
    /// Mirrors alone
    Mirror,
}

impl Role {
    fn answers(self) -> bool {
        matches!(self, Role::All | Role::Api)
    }

    fn works(self) -> bool {
        matches!(self, Role::All | Role::Worker)
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tidegate serve                                       jobs, API, dashboard and mirrors in one process
  tidegate serve --listen 127.0.0.1:0 --set serve.mirrors='[]'
  tidegate serve --role api                            several processes on one PostgreSQL share the work
  tidegate serve --role worker
  tidegate serve --mirror                              the mirrors alone
  tidegate serve --mirror tushare --listen 127.0.0.1:0 --set mirror.tokens='[\"secret:5000\"]'
  tidegate serve --mirror tushare,baostock --listen baostock=127.0.0.1:10031

In Python, the official clients read from it after one line:
  pro = tushare.pro_api('any'); pro._DataApi__http_url = 'http://127.0.0.1:7878'
  baostock.common.contants.BAOSTOCK_SERVER_IP = '127.0.0.1'

Users of AKTools change the address only:
  requests.get('http://127.0.0.1:8080/api/public/stock_zh_a_hist', params={'symbol': '600519'}).json()")]
pub struct Args {
    /// What this process does [default: all; mirror with --mirror]
    #[arg(long)]
    role: Option<Role>,
    /// Answer in these dialects; without names in all of them [default: serve.mirrors]
    #[arg(
        long,
        value_name = "DIALECTS",
        value_delimiter = ',',
        num_args = 0..=1,
        default_missing_value = "tushare,baostock,aktools"
    )]
    mirror: Option<Vec<Dialect>>,
    /// Address and port of the API, or of a dialect (`baostock=127.0.0.1:0`); with --mirror an address alone is that of the
    /// dialect named first. Port 0 takes a free one [default: serve.listen, mirror.listen and its like]
    #[arg(long, value_name = "[DIALECT=]ADDRESS:PORT")]
    listen: Vec<String>,
}

impl Args {
    fn role(&self) -> Role {
        self.role.unwrap_or(if self.mirror.is_some() { Role::Mirror } else { Role::All })
    }

    fn dialects(&self, context: &Context) -> Vec<Dialect> {
        let configured = || {
            let names = context.options().serve.mirrors.iter();
            names.filter_map(|name| <Dialect as clap::ValueEnum>::from_str(name, false).ok()).collect()
        };
        let mut dialects = match self.role() {
            Role::Worker => Vec::new(),
            Role::All | Role::Api | Role::Mirror => self.mirror.clone().unwrap_or_else(configured),
        };
        dialects.dedup();
        dialects
    }
}

pub async fn run(context: &Context, args: Args) -> Result<u8> {
    let store = context.store().await?;
    let stop = stop_on_signal();
    let mut servers = Servers::new(context, store, &stop).await?;
    let mut url = None;
    if args.role().answers() {
        let named = args.listen.iter().find(|text| !text.contains('='));
        url = Some(servers.answer(named.unwrap_or(&context.options().serve.listen)).await?);
    }
    if args.role().works() {
        servers.work().await?;
        servers.deliver()?;
    }
    let mirrors = servers.mirror(places(context, &args)?).await?;
    if context.json {
        let first = url.clone().or(mirrors.first().map(|(_, url)| url.clone()));
        let mirrors: serde_json::Map<_, _> = mirrors.into_iter().map(|(name, url)| (name, url.into())).collect();
        context.print_json(&serde_json::json!({ "url": first, "mirrors": mirrors }))?;
    }
    servers.until_stopped().await
}

/// What runs in this process over one store, until stopping is asked for.
pub struct Servers<'c> {
    context: &'c Context,
    store: Arc<dyn Store>,
    feed: Feed,
    engines: Engines,
    publisher: Publisher,
    stop: Stop,
    serving: JoinSet<Result<()>>,
    keeps_log: bool,
}

impl<'c> Servers<'c> {
    pub async fn new(context: &'c Context, store: Arc<dyn Store>, stop: &Stop) -> Result<Servers<'c>> {
        let poll = Duration::from_millis(context.options().serve.poll_ms);
        let feed = Feed::start(store.clone(), FeedOptions { poll, ..FeedOptions::default() }).await?;
        let engines = context.engines(store.clone());
        let (publisher, stop) = (context.publisher(store.clone()), stop.clone());
        Ok(Servers { context, store, feed, engines, publisher, stop, serving: JoinSet::new(), keeps_log: false })
    }

    /// Levels as the store has them, and records that matter kept in it.
    fn keep_log(&mut self) {
        if std::mem::replace(&mut self.keeps_log, true) {
            return;
        }
        let options = &self.context.options().log;
        let options = JournalOptions { days: options.store_days, records_max: options.store_records_max };
        let (log, clock, store) = (&self.context.log, self.context.clock.clone(), self.store.clone());
        tokio::spawn(log.clone().follow(self.feed.clone(), store.clone()));
        let (keeper, stop) = (log.keeper(), self.stop.clone());
        self.serving.spawn(async move {
            keeper.run(store, clock, options, async { stop.wait().await }).await;
            Ok(())
        });
    }

    /// The API and the dashboard; the answer is their address.
    pub async fn answer(&mut self, listen: &str) -> Result<String> {
        self.keep_log();
        let context = self.context;
        let (listener, address) = bind(listen).await?;
        let options = &context.options().serve;
        let sockets = SocketOptions {
            sockets: options.sockets,
            queue: options.socket_queue,
            channels: options.socket_channels,
            recover: options.socket_recover,
            recover_bytes: options.socket_recover_kb * 1024,
            heartbeat: Duration::from_secs(options.heartbeat_seconds),
        };
        let (store, feed) = (self.store.clone(), self.feed.clone());
        let receiver = super::receiving::receiver(context, store.clone(), feed.clone()).await?;
        let service = Service::start(Parts {
            live: Live::start(feed.clone(), store.clone(), context.clock.clone(), sockets),
            cache: Cache::new(Fresh::new(store.clone(), feed.clone()), cache_options(context), context.clock.clone())?,
            memory: Memory::default(),
            receiver,
            inbounds: super::receiving::control(context, store.clone()),
            feed,
            reader: context.reader(store.clone()),
            engines: self.engines.clone(),
            control: context.control(store.clone()),
            reconciler: super::reconciling::reconciler(context, store.clone()),
            subscriptions: context.subscriptions(store.clone())?,
            sources: super::doors::configured(context),
            publisher: self.publisher.clone(),
            log: context.log.clone(),
            store,
            catalog: context.catalog.clone(),
            clock: context.clock.clone(),
            options: service_options(context, &address),
            settings: settings(context),
            started_at: context.clock.now(),
        })
        .await?;
        let stop = self.stop.clone();
        self.serving.spawn(crate::serve::serve(listener, service, async move { stop.wait().await }));
        let url = format!("http://{address}");
        eprintln!("serving the API on {url}; Ctrl-C ends it");
        Ok(url)
    }

    /// Jobs and runs.
    pub async fn work(&mut self) -> Result<()> {
        self.keep_log();
        let context = self.context;
        let waiting = Arc::new(ByClock(context.clock.clone()));
        let (catalog, clock) = (context.catalog.clone(), context.clock.clone());
        let engines = self.engines.clone();
        let scheduler = Scheduler::new(self.store.clone(), catalog, clock, engines, context.job_options(), waiting)
            .reconciling(super::reconciling::reconciler(context, self.store.clone()));
        let (feed, stop) = (self.feed.clone(), self.stop.clone());
        self.serving.spawn(async move { scheduler.serve(feed, &stop).await });
        self.carry();
        let receiver = super::receiving::receiver(context, self.store.clone(), self.feed.clone()).await?;
        let stop = self.stop.clone();
        self.serving.spawn(async move {
            receiver.fetch_missing(crate::engine::lease::worker_name(), async move { stop.wait().await }).await;
            Ok(())
        });
        Ok(())
    }

    /// Events on their way to subscriptions.
    pub fn deliver(&mut self) -> Result<()> {
        let context = self.context;
        let client = Client::new(&context.client_options()?, Arc::new(SystemNames))?;
        let options = Arc::new(carrying::dispatch_options(context));
        let (store, feed, clock) = (self.store.clone(), self.feed.clone(), context.clock.clone());
        let dispatcher = Dispatcher { store, feed, client, clock, options };
        let stop = self.stop.clone();
        self.serving.spawn(async move { dispatcher.serve(&stop).await });
        Ok(())
    }

    /// Intakes, and the relay of the log.
    fn carry(&mut self) {
        let context = self.context;
        let parts = intake::Parts {
            store: self.store.clone(),
            clock: context.clock.clone(),
            publisher: self.publisher.clone(),
            options: context.intake_options(),
            worker: crate::engine::lease::worker_name(),
        };
        if let Some(options) = context.relay_options() {
            let relay = Relay::new(parts.clone(), options);
            let (feed, stop) = (self.feed.clone(), self.stop.clone());
            self.serving.spawn(async move { relay.serve(feed, &stop).await });
        }
        let (feed, stop) = (self.feed.clone(), self.stop.clone());
        self.serving.spawn(async move { Keeper::new(parts).serve(feed, &stop).await });
    }

    /// Every dialect with its address.
    async fn mirror(&mut self, places: Vec<(Dialect, String)>) -> Result<Vec<(String, String)>> {
        let context = self.context;
        let mut urls = Vec::new();
        for (dialect, listen) in places {
            let (listener, address) = bind(&listen).await?;
            check_exposure(&address, &options(context))?;
            let (stop, catalog, clock) = (self.stop.clone(), context.catalog.clone(), context.clock.clone());
            let store = self.store.clone();
            let shutdown = async move { stop.wait().await };
            let router = match dialect {
                Dialect::Tushare => Some(crate::mirror::tushare::router(store, catalog, options(context), clock)),
                Dialect::Aktools => {
                    Some(crate::mirror::aktools::router(store, catalog, aktools_options(context), clock))
                }
                Dialect::Baostock => None,
            };
            let url = if router.is_some() { format!("http://{address}") } else { address.to_string() };
            eprintln!("serving the dialect of {} on {url}; Ctrl-C ends it", dialect.name());
            urls.push((dialect.name().to_string(), url));
            match router {
                Some(router) => self.serving.spawn(crate::mirror::serve(listener, router, shutdown)),
                None => {
                    let mirror = super::baostock::mirror(context, self.store.clone());
                    self.serving.spawn(crate::mirror::baostock::serve(listener, mirror, shutdown))
                }
            };
        }
        Ok(urls)
    }

    /// Waits for the end, and for what is under way then, within `serve.drain_seconds`.
    pub async fn until_stopped(mut self) -> Result<u8> {
        let ended = async {
            while let Some(ended) = self.serving.join_next().await {
                ended.map_err(|error| Error::bug("a server broke off").caused_by(error))??;
            }
            Ok(0)
        };
        let drained = async {
            self.stop.wait().await;
            tokio::time::sleep(Duration::from_secs(self.context.options().serve.drain_seconds) + LAST_WORDS).await;
        };
        tokio::select! {
            ended = ended => ended,
            () = drained => {
                tracing::warn!("what is still under way is cut off");
                Ok(0)
            }
        }
    }
}

fn cache_options(context: &Context) -> CacheOptions {
    let cache = &context.options().cache;
    let redis = RedisOptions {
        url: cache.redis.expose().to_string(),
        prefix: cache.redis_prefix.clone(),
        kept: Duration::from_secs(cache.redis_seconds),
        timeout: Duration::from_millis(cache.redis_timeout_ms),
    };
    CacheOptions {
        bytes_max: cache.mb << 20,
        answer_bytes_max: (cache.answer_kb_max as usize) << 10,
        redis: Some(redis).filter(|redis| !redis.url.is_empty()),
    }
}

/// Which dialect is served where.
fn places(context: &Context, args: &Args) -> Result<Vec<(Dialect, String)>> {
    let mirror = &context.options().mirror;
    let mirrors_alone = args.role() == Role::Mirror;
    let bare: Vec<&String> = args.listen.iter().filter(|text| mirrors_alone && !text.contains('=')).collect();
    let mut dialects = args.dialects(context);
    if !bare.is_empty() && dialects.len() > 1 {
        dialects.truncate(1);
    }
    let mut places = Vec::new();
    for dialect in &dialects {
        let named = |text: &&String| text.split_once('=').is_some_and(|(name, _)| name == dialect.name());
        let given = args.listen.iter().find(named).and_then(|text| text.split_once('=')).map(|(_, address)| address);
        let configured = match dialect {
            Dialect::Tushare => &mirror.listen,
            Dialect::Baostock => &mirror.baostock_listen,
            Dialect::Aktools => &mirror.aktools_listen,
        };
        let address = given.or(bare.first().map(|text| text.as_str())).unwrap_or(configured);
        places.push((*dialect, address.to_string()));
    }
    let known = |text: &&String| match text.split_once('=') {
        Some((name, _)) => dialects.iter().any(|dialect| dialect.name() == name),
        None => true,
    };
    match args.listen.iter().find(|text| !known(text)) {
        Some(text) => Err(Error::invalid(format!("--listen {text} names no dialect that is served"))
            .hint("name it under --mirror too")),
        None => Ok(places),
    }
}

/// Clients that may wait to be accepted, as far as the system allows: after a restart all of them come at once, and whoever
/// finds no room tries again a second later, then three, then seven.
const WAITING_MAX: u32 = 4_096;

async fn listen_on(listen: &str) -> io::Result<TcpListener> {
    let mut refused = None;
    for address in tokio::net::lookup_host(listen).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A port that was left a moment ago is free.
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(WAITING_MAX)) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name has no address")))
}

async fn bind(listen: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = listen_on(listen).await.map_err(|error| {
        let message = format!("listening on {listen} failed: {error}");
        Error::invalid(message)
            .caused_by(error)
            .hint("choose another port with --listen, or 127.0.0.1:0 for a free one")
    })?;
    let address = listener.local_addr().map_err(|error| Error::bug("a listener has no address").caused_by(error))?;
    Ok((listener, address))
}

fn settings(context: &Context) -> Vec<Setting> {
    let setting = |option: &Explained| Setting {
        option: option.path.clone(),
        value: option.value.clone(),
        origin: option.origin.to_string(),
        meaning: config::meaning(&option.path),
    };
    context.config.explain().iter().map(setting).collect()
}

fn service_options(context: &Context, address: &SocketAddr) -> ServeOptions {
    let serve = &context.options().serve;
    ServeOptions {
        hosts: serve.hosts.clone(),
        cors_origins: serve.cors_origins.clone(),
        open: address.ip().is_loopback(),
        connections: serve.connections,
        arrival: Duration::from_secs(serve.header_seconds),
        request: Duration::from_secs(serve.request_seconds),
        body_bytes_max: serve.body_kb_max as usize * 1024,
        event_body_bytes_max: context.options().events.body_kb_max * 1024,
        event_look_through: context.options().events.look_through,
        requests_per_minute: serve.requests_per_minute,
        logins_per_minute: serve.logins_per_minute,
        page_rows: serve.page_rows,
        page_rows_max: serve.page_rows_max,
        webhook_bytes_max: context.options().receive.body_kb_max as usize * 1024,
        webhooks_per_minute: context.options().receive.calls_per_minute,
        rows_max: serve.rows_max,
        session_hours: serve.session_hours,
        drain: Duration::from_secs(serve.drain_seconds),
        poll: Duration::from_millis(serve.poll_ms),
    }
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
fn check_exposure(address: &SocketAddr, options: &MirrorOptions) -> Result<()> {
    if address.ip().is_loopback() || !options.accounts.is_empty() {
        return Ok(());
    }
    let message = format!("{address} can be reached from other machines, and any token would be let in");
    Err(Error::invalid(message).hint("set mirror.tokens, or listen on 127.0.0.1"))
}
