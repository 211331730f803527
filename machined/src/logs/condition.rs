//! What the condition `logs` says.

use super::{
    CONDITION,
    keeper::{Handle, News},
};
use crate::health::{Health, Status};

/// Keeps the condition up to date for ever.
pub async fn run(logs: &Handle, health: &Health) {
    let mut news = logs.news();
    loop {
        let judged = judge(&news.borrow_and_update());
        if let Some((status, reason, message)) = judged {
            health.set(CONDITION, status, reason, message);
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

/// DATA is not used.
pub fn in_memory(health: &Health) {
    health.set(CONDITION, Status::Healthy, "InMemory", "logs are kept in memory, and end with this boot");
}

/// The store on DATA cannot even be opened.
pub fn unkept(health: &Health, error: &str) {
    health.set(
        CONDITION,
        Status::Unhealthy,
        "NotOpened",
        format!("{error}; logs are kept in memory and end with this boot, which `osctl reboot` may mend"),
    );
}

/// Nothing before the logs are on DATA: then others know more.
fn judge(news: &News) -> Option<(Status, &'static str, String)> {
    let News { on_data, trouble, lost_lines, .. } = news;
    let judged = match trouble {
        _ if !on_data => return None,
        Some(trouble) => {
            let message = format!(
                "logs cannot be written to DATA: {trouble}; {lost_lines} lines were dropped: remove pods or what they store, \
                 or replace the disk"
            );
            (Status::Unhealthy, "NotWritten", message)
        }
        None if *lost_lines > 0 => {
            let message = format!("{lost_lines} lines were dropped while DATA could not be written");
            (Status::Healthy, "Kept", message)
        }
        None => (Status::Healthy, "Kept", String::new()),
    };
    Some(judged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_lines_are_said() {
        let mut news = News::default();
        assert_eq!(judge(&news), None);
        news.on_data = true;
        assert_eq!(judge(&news), Some((Status::Healthy, "Kept", String::new())));
        news.trouble = Some("No space left on device".into());
        news.lost_lines = 7;
        let (status, reason, message) = judge(&news).unwrap();
        assert_eq!((status, reason), (Status::Unhealthy, "NotWritten"));
        assert!(message.contains("No space left on device; 7 lines were dropped"), "{message}");
        news.trouble = None;
        assert!(judge(&news).unwrap().2.starts_with("7 lines"));
    }
}
