//! Follows a channel, and connects again when its connection is lost.

use std::{mem, sync::Arc, time::Duration};

use futures_util::StreamExt;
use redis::{RedisConnectionInfo, RedisError, aio::PubSub};
use tokio::{
    sync::mpsc::{self, Sender},
    time::{sleep, timeout},
};

use super::{RunError, Settings, discovery};

/// How many messages may wait for the receiver.
const WAITING: usize = 256;

/// How long connecting and subscribing may take.
const SUBSCRIBING: Duration = Duration::from_secs(5);

/// The pause before connecting again, which doubles up to the longest one while connecting fails.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What happens on a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// From now on messages arrive; before, some may have been lost.
    Subscribed,
    /// Somebody published this text.
    Text(String),
}

/// Follows a channel in a task of its own, until the receiver is dropped.
pub(super) fn follow(settings: Arc<Settings>, channel: String) -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = follow_forever(&settings, &channel, &sender) => {}
        }
    });
    receiver
}

async fn follow_forever(settings: &Settings, channel: &str, sender: &Sender<Message>) {
    let mut pause = FIRST_PAUSE;
    let mut told = false;
    // A slow receiver first has to catch up. This fails only if it is gone.
    while let Ok(place) = sender.reserve().await {
        match timeout(SUBSCRIBING, subscribe(settings, channel)).await {
            Ok(Ok(subscription)) => {
                (pause, told) = (FIRST_PAUSE, false);
                place.send(Message::Subscribed);
                pass_on(subscription, sender).await;
            }
            Ok(Err(error)) if !mem::replace(&mut told, true) => {
                tracing::warn!(channel, %error, "cannot follow a channel of Redis, so what other gateways say comes up to a second later");
            }
            Ok(Err(error)) => tracing::debug!(channel, %error, "cannot follow a channel of Redis"),
            Err(_) => tracing::debug!("subscribing to a channel of Redis takes too long"),
        }
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(2 * pause);
    }
}

async fn subscribe(settings: &Settings, channel: &str) -> Result<PubSub, RunError> {
    let stream = discovery::open(settings).await?;
    let failed = |error: RedisError| RunError::Unreachable(error.to_string());
    let nothing_to_prepare = RedisConnectionInfo::default().set_skip_set_lib_name();
    let mut subscription = PubSub::new(&nothing_to_prepare, stream).await.map_err(failed)?;
    subscription.subscribe(channel).await.map_err(failed)?;
    Ok(subscription)
}

/// Passes messages on until the connection is lost, or until the receiver is so slow that a message is lost.
async fn pass_on(subscription: PubSub, sender: &Sender<Message>) {
    let mut messages = subscription.into_on_message();
    while let Some(message) = messages.next().await {
        let text = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
        if sender.try_send(Message::Text(text)).is_err() {
            return;
        }
    }
}
