//! The async client against a running server.
//!
//! ```sh
//! mirra serve --data-dir /tmp/mirra &
//! cargo run --release --example tcp_client -- 127.0.0.1:7311
//! ```

use mirra::base::Id;
use mirra::client::{Client, ClientOptions};
use mirra::wire::commands::{ProfileGet, Recommend};
use mirra::wire::types::Event;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7311".to_owned());
    let client = Client::connect(&addr, ClientOptions::default()).await?;
    println!(
        "{} with {} shards, strategies {:?}",
        client.hello().server,
        client.hello().shards,
        client.hello().strategies
    );

    for (n, item) in ["espresso", "grinder", "espresso", "kettle"].into_iter().enumerate() {
        let event_id = Id::parse(&format!("example-{n}"));
        let (user, item) = (Id::parse("ann"), Id::parse(item));
        let event = Event { event_id, user, item: item.clone(), kind: 2, value: 1.0, time_ms: 0 };
        // Learned before this returns; a repeat after a lost reply would be recognised by its event id.
        let (status, ack) = client.put_event(event, 0).await?;
        println!(
            "{item}: {status}, shard {} sequence {}, profile version {}",
            ack.shard, ack.sequence, ack.profile_version
        );
    }

    let profile = client.call(&ProfileGet { user: Id::parse("ann"), recent_max: 3, factors: false }).await?;
    println!(
        "ann has {} events; the newest: {:?}",
        profile.events,
        profile.recent.iter().map(|e| &e.item).collect::<Vec<_>>()
    );
    let recommend = Recommend {
        user: Id::parse("ann"),
        k: 5,
        exclude_seen: false,
        allow_items: vec![],
        deny_items: vec![],
        allow_tags: vec![],
        deny_tags: vec![],
        strategy: String::new(),
    };
    for scored in client.call(&recommend).await?.items {
        println!("  {:<10} {:.3}", scored.item.to_string(), scored.score);
    }
    Ok(())
}
