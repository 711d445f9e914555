//! One batch: run, bisected where a member cannot be stored, settled where it committed.

use super::{
    Done, Job, Outcome, Step, Verdict, Waiting,
    fault::{self, Fault},
    lead::{Flow, Leader},
    partitions,
    statement::{self, Answer, Arrays, Head},
};
use crate::{
    Change, ChangeAction,
    cache::Held,
    clock::Moment,
    connection::classify,
    record::{Record, Refusing},
    ring::Stretch,
};
use bytes::Bytes;
use model::{Class, Error, Result};
use tokio_postgres::Row;

/// How often a batch that PostgreSQL undid for no fault of its own is run again.
const ATTEMPTS: u32 = 20;

impl Leader<'_> {
    pub(crate) async fn execute(&mut self, jobs: Vec<Job>, waiting: &mut Waiting) -> Flow {
        let mut stack = vec![jobs];
        let mut attempts = 0;
        while let Some(mut jobs) = stack.pop() {
            if jobs.is_empty() {
                continue;
            }
            let uuid = uuid::Uuid::new_v4().to_string();
            self.session.take_unreplicated();
            let record = self.record;
            let settling = record.settling.lock().await;
            let sent = Moment::now();
            let head = self.head(uuid.clone());
            let ran = {
                let arrays = Arrays::of(&jobs);
                statement::run(self.session.client(), &self.session.statement, &head, &arrays).await
            };
            let fault = match ran {
                Ok(rows) if !self.session.take_unreplicated() => {
                    self.written = self.record.published.get();
                    self.renewed = sent;
                    self.record.lease.renewed(sent);
                    if let Err(error) = self.settle(jobs, &rows, &head, sent) {
                        return self.broken(stack.into_iter().flatten().collect(), error.message());
                    }
                    continue;
                }
                Ok(_) => None,
                Err(error) => Some(error),
            };
            drop(settling);
            attempts += 1;
            let kind = fault.as_ref().map_or(Fault::Unknown, Fault::of);
            match (kind, fault) {
                (Fault::Again, _) if attempts < ATTEMPTS => stack.push(jobs),
                (Fault::NoPartition, Some(error)) if attempts < ATTEMPTS => match self.emergency().await {
                    Ok(()) => stack.push(jobs),
                    Err(_) => self.refuse(jobs, &error),
                },
                (Fault::Member, Some(error)) if jobs.len() == 1 => self.single_out(jobs, &error),
                (Fault::Member, Some(_)) => {
                    self.record.metrics.bisects.add(1);
                    let rest = jobs.split_off(jobs.len() / 2);
                    stack.extend([rest, jobs]);
                }
                (Fault::LeaseLost, _) => {
                    stack.push(jobs);
                    return self.lost(stack.into_iter().flatten().collect());
                }
                (Fault::Differs, _) => {
                    stack.push(jobs);
                    let why = "the record's statement wrote other rows than it decided (NK002); nothing was written";
                    return self.broken(stack.into_iter().flatten().collect(), why);
                }
                (Fault::Unknown, _) => match self.resolve(jobs, &uuid, waiting).await {
                    Ok(again) => stack.push(again),
                    Err(()) => return self.lost(stack.into_iter().flatten().collect()),
                },
                (Fault::Demoted, Some(error)) => {
                    self.refuse(jobs, &error);
                    if self.recover(waiting).await.is_break() {
                        return self.lost(stack.into_iter().flatten().collect());
                    }
                }
                (_, Some(error)) => self.refuse(jobs, &error),
                (_, None) => stack.push(jobs),
            }
        }
        Flow::Continue(())
    }

    async fn emergency(&mut self) -> Result<()> {
        let width = self.record.settings.change_partition;
        tracing::warn!(next = self.next, "a partition was missing: making it now");
        self.ensured = partitions::ensure(self.session.client(), width, self.next, self.hlc.micros()).await?;
        Ok(())
    }

    fn single_out(&self, jobs: Vec<Job>, error: &tokio_postgres::Error) {
        for job in jobs {
            self.record.offenders.failed(&job.principal);
            job.answer(Outcome::Failed(fault::refused(error)));
        }
    }

    /// PostgreSQL took nothing: told to each caller, and to whoever asks whether this server is ready.
    fn refuse(&self, jobs: Vec<Job>, error: &tokio_postgres::Error) {
        let told = classify(error);
        tracing::warn!(sqlstate = error.code().map(|code| code.code()), "PostgreSQL refuses a batch");
        let (code, message, at) = (told.code(), told.message().to_owned(), Moment::now());
        *self.record.refusing.lock() = Some(Refusing { code, message, at });
        for job in jobs {
            job.answer(Outcome::Failed(classify(error)));
        }
    }

    /// It committed: remember, publish, then tell everyone his own outcome.
    fn settle(&mut self, jobs: Vec<Job>, rows: &[Row], head: &Head, sent: Moment) -> Result<()> {
        let record = self.record;
        record.metrics.committed(Moment::now().since(sent));
        *record.refusing.lock() = None;
        record.metrics.groups.add(jobs.len() as u64);
        record.metrics.members.add(rows.len() as u64);
        let answers: Vec<Answer> = rows.iter().map(Answer::of).collect::<Result<_>>()?;
        let ordinal = record.lives.current().map_or(0, |life| life.incarnation.ordinal);
        let (mut effects, mut outcomes, mut at) = (Vec::new(), Vec::with_capacity(jobs.len()), 0);
        for job in &jobs {
            let own = answers.get(at..at + job.members.len()).ok_or_else(|| Error::bug("a member has no row"))?;
            at += job.members.len();
            outcomes.push(outcome(job, own));
            if own.iter().all(|answer| answer.ok) {
                effects.extend(effects_of(job, own));
            }
        }
        remember(record, &effects, ordinal);
        if let Some(last) = effects.last() {
            self.next = last.n + 1;
            record.publish(last.n);
            record.ring.push(stretch(record, &effects, head)?);
        }
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            if !matches!(outcome, Outcome::Committed { .. }) {
                record.metrics.conflicts.add(1);
            }
            job.answer(outcome);
        }
        Ok(())
    }
}

/// A known request outweighs what its repetition would meet; a conflict outweighs a need to seal again.
fn outcome(job: &Job, answers: &[Answer]) -> Outcome {
    if answers.iter().all(|answer| answer.ok) {
        let writes = job.members.iter().zip(answers).filter(|(member, _)| member.step.writes());
        let writes: Vec<Done> = writes.map(|(member, answer)| done(member.step, answer, member)).collect();
        let reads = job.members.iter().zip(answers).filter(|(member, _)| member.step == Step::Read);
        let reads = reads.map(|(_, answer)| answer.read.clone()).collect();
        let n = answers.last().map_or(0, |answer| answer.n);
        return Outcome::Committed { n, writes, reads };
    }
    let refused = || answers.iter().enumerate().filter_map(|(at, answer)| Some((at, answer, answer.verdict?)));
    for (_, answer, verdict) in refused() {
        match (verdict, answer.replay) {
            (Verdict::Replay, Some((n, writes))) => return Outcome::Replay { n, writes },
            (Verdict::Mismatch, _) => return Outcome::Refused { member: 0, verdict, current: None },
            _ => {}
        }
    }
    let reseals = |verdict| matches!(verdict, Verdict::ResealKey | Verdict::ResealVersion);
    if let Some((member, answer, verdict)) = refused().find(|(_, _, verdict)| !reseals(*verdict)) {
        return Outcome::Refused { member, verdict, current: answer.current };
    }
    Outcome::Reseal(refused().map(|(member, answer, verdict)| (member, verdict, answer.current)).collect())
}

fn done(step: Step, answer: &Answer, member: &super::Member) -> Done {
    let sealed_for = member.document.as_ref().map(|document| document.version);
    let version = match step {
        Step::Delete => answer.current.unwrap_or(0) + 1,
        _ => sealed_for.unwrap_or(0),
    };
    Done { n: answer.n, version }
}

/// One committed write.
struct Effect<'a> {
    job: &'a Job,
    member: &'a super::Member,
    n: u64,
    version: u64,
    action: ChangeAction,
    class: Class,
    /// Of a group with several writes.
    several: bool,
}

fn effects_of<'a>(job: &'a Job, answers: &[Answer]) -> Vec<Effect<'a>> {
    let several = job.writes().count() > 1;
    let writes = job.members.iter().zip(answers).filter(|(member, _)| member.step.writes());
    let effect = |(member, answer): (&'a super::Member, &Answer)| {
        let action = match member.step {
            Step::Delete => ChangeAction::Deleted,
            _ if answer.gone => ChangeAction::Created,
            _ => ChangeAction::Updated,
        };
        let class = member.document.as_ref().map(|document| document.class).or(answer.class);
        let Done { n, version } = done(member.step, answer, member);
        Effect { job, member, n, version, action, class: class.unwrap_or(Class::Restricted), several }
    };
    writes.map(effect).collect()
}

/// Keys of groups with several writes are hidden before any is shown (see `cache`).
fn remember(record: &Record, effects: &[Effect<'_>], ordinal: u32) {
    for hide in [true, false] {
        for effect in effects.iter().filter(|effect| effect.several || !hide) {
            let Some((key, hash)) = &effect.member.key else { continue };
            let document = effect.member.document.as_ref().map(|document| document.canonical.clone());
            let Effect { n, version, class, .. } = *effect;
            let held = Held { version, ordinal, n, class, document };
            if hide {
                record.cache.hide(*hash, key, held)
            } else {
                record.cache.write(*hash, key, held)
            }
            if let Some((subject, _)) = effect.member.subject.as_ref().filter(|_| !hide) {
                record.subjects.written(subject);
            }
        }
    }
    for effect in effects {
        for (subject, _) in effect.job.members.iter().filter_map(|member| member.subject.as_ref()) {
            record.subjects.written(subject);
        }
    }
}

fn stretch(record: &Record, effects: &[Effect<'_>], head: &Head) -> Result<Stretch> {
    let mut bytes = 0;
    let change = |effect: &Effect<'_>| {
        let document = effect.member.document.as_ref();
        let (key, _) = effect.member.key.as_ref().ok_or_else(|| Error::bug("a write without a key"))?;
        bytes += document.map_or(0, |document| document.sealed.len());
        Ok(Change {
            position: record.position_at(effect.n)?,
            hlc: head.hlc.0,
            key: key.clone(),
            version: effect.version,
            class: effect.class,
            action: effect.action,
            principal: (*effect.job.principal).to_owned(),
            content_tag: document.map_or([0; 32], |document| document.content_tag),
            stored: document.map_or(Bytes::new(), |document| document.sealed.clone()),
        })
    };
    let changes = effects.iter().map(change).collect::<Result<_>>()?;
    record.metrics.bytes.add(bytes as u64);
    Ok(Stretch::new(changes, effects.iter().map(|effect| effect.job.purpose.clone()).collect()))
}
