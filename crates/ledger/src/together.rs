//! Questions of many callers in one statement (natural batching, no delay): what arrives while a statement runs shares
//! the next one.

use model::{Error, Result};
use std::future::Future;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

const QUEUE: usize = 4_096;

type Asked<Q, A> = (Q, oneshot::Sender<Result<A>>);

#[derive(Debug)]
pub(crate) struct Together<Q, A>(mpsc::Sender<Asked<Q, A>>);

impl<Q: Send + 'static, A: Send + 'static> Together<Q, A> {
    /// `statement` answers up to `most` questions, in their order. The task ends with the handle.
    pub(crate) fn start<F, S>(most: usize, statement: F) -> (Self, JoinHandle<()>)
    where
        F: Fn(Vec<Q>) -> S + Send + 'static,
        S: Future<Output = Result<Vec<A>>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), tokio::spawn(serve(receiver, most, statement)))
    }

    pub(crate) async fn ask(&self, question: Q) -> Result<A> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::retry("shutting-down", "this server is stopping");
        self.0.send((question, reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

async fn serve<Q, A, F, S>(mut queue: mpsc::Receiver<Asked<Q, A>>, most: usize, statement: F)
where
    F: Fn(Vec<Q>) -> S,
    S: Future<Output = Result<Vec<A>>>,
{
    let mut waiting = Vec::with_capacity(most);
    while queue.recv_many(&mut waiting, most).await > 0 {
        let (questions, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        // Who asked may have gone.
        match statement(questions).await {
            Ok(answers) => replies.into_iter().zip(answers).for_each(|(reply, answer)| {
                let _ = reply.send(Ok(answer));
            }),
            // One error for all who shared the statement.
            Err(error) => replies.into_iter().for_each(|reply| {
                let _ = reply.send(Err(Error::new(error.kind(), error.code(), error.message())));
            }),
        }
    }
}
