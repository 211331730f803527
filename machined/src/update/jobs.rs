//! What the manager has done beside it. There is one job at a time; one that is overtaken is dropped where it stands.

use std::sync::Arc;

use update::{Before, Event, Request, Source, Target, Task};

use super::{
    manager::{AGAIN, Manager},
    node::{Failed, Node},
};

impl<N: Node> Manager<N> {
    pub(super) fn stop(&mut self) {
        if let Some(job) = self.job.take() {
            job.abort();
        }
    }

    pub(super) fn resolve(&mut self, task: Task, request: Request) {
        self.meter.clear();
        let (node, client) = (Arc::clone(&self.node), self.client.clone());
        self.start(async move {
            match node.resolve(&request, client).await {
                Ok(manifest) => Event::Resolved { task, manifest: Box::new(manifest) },
                Err(failed) => failed_event(task, failed),
            }
        });
    }

    pub(super) fn fetch(&mut self, task: Task, source: Source, target: Target) {
        let (node, client) = (Arc::clone(&self.node), self.client.clone());
        self.start(async move {
            match node.fetch(&source, &target, client).await {
                Ok(()) => Event::Fetched { task },
                Err(failed) => failed_event(task, failed),
            }
        });
    }

    pub(super) fn verify(&mut self, task: Task, target: Target, is_automatic: bool) {
        let node = Arc::clone(&self.node);
        self.start(async move {
            match node.verify(&target).await {
                Ok(()) => {
                    let busy = is_automatic && node.is_busy().await;
                    Event::Verified { task, before: node.healthy(), busy }
                }
                Err(failed) => failed_event(task, failed),
            }
        });
    }

    pub(super) fn judge(&mut self, task: Task, deadline_ms: u64, before: Before) {
        let node = Arc::clone(&self.node);
        self.start(async move {
            match node.judge(before, deadline_ms).await {
                Ok(()) => Event::GatePassed { task },
                Err(reason) => Event::GateFailed { task, reason },
            }
        });
    }

    /// Orders it until it comes about.
    pub(super) fn reboot(&mut self, takes_leave: bool) {
        if self.reboot.is_some() {
            return;
        }
        let node = Arc::clone(&self.node);
        self.reboot = Some(tokio::spawn(async move {
            loop {
                if let Err(reason) = node.reboot(takes_leave).await {
                    tracing::error!(reason, "the node does not reboot");
                }
                tokio::time::sleep(AGAIN).await;
            }
        }));
    }

    fn start(&mut self, job: impl Future<Output = Event> + Send + 'static) {
        self.stop();
        let answers = self.answers.0.clone();
        self.job = Some(tokio::spawn(async move {
            let event = job.await;
            answers.send(event).await.ok();
        }));
    }
}

fn failed_event(task: Task, Failed { failure, reason }: Failed) -> Event {
    Event::Failed { task, failure, reason }
}
