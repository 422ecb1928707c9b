//! What a change would do, before it is done: the verb itself runs, up to the commit, and what it would have written is
//! laid over the policy as it is. So a preview cannot know other rules than the change, and refuses what the change
//! would refuse.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use crate::{Act, Core, ServiceError, Warnings};
use domain::Revision;
use domain::access::{Change, Snapshot};
pub use domain::effect::Effect;
use domain::effect::{CutOff, Difference, Touched};
use domain::ids::{HostId, ProfileId, UserId};
use domain::profile::Profile;
use domain::text::Name;
use domain::user::User;
use store::policy::PolicyChange;

/// The result of a dry run.
#[derive(Debug, Clone, Default)]
pub struct DryRun {
    effect: Arc<OnceLock<Effect>>,
    pub(crate) warnings: Warnings,
}

impl DryRun {
    /// What the act would do; nothing before it was run.
    pub fn effect(&self) -> Effect {
        let mut effect = self.effect.get().cloned().unwrap_or_default();
        effect.warnings.extend(self.warnings.list().iter().cloned());
        effect
    }
}

impl Core {
    /// Changes policy on behalf of `act`, or computes what that would do where the act is a dry run.
    pub(crate) async fn change_by<T, F, Fut>(&self, act: &Act, change: F) -> Result<T, ServiceError>
    where
        F: Fn(PolicyChange) -> Fut,
        Fut: Future<Output = Result<T, ServiceError>>,
    {
        let Some(DryRun { effect, .. }) = &act.dry_run else { return self.change(change).await };
        let (value, changes) = self.store().try_change(change).await?;
        let found = self.effect_of(changes).await?;
        effect.get_or_init(|| found);
        Ok(value)
    }

    async fn effect_of(&self, changes: Vec<Change>) -> Result<Effect, ServiceError> {
        if changes.is_empty() {
            return Ok(Effect::default());
        }
        let known = self.store().access().changes_since(Revision(0)).await?;
        let before = &Snapshot::default().with(known.revision, known.changes);
        let touched = &Touched::by(&changes, before);
        if touched.is_nobody() {
            return Ok(Effect::default());
        }
        let now = self.now();
        let statuses = self.store().hosts().host_statuses(None).await?;
        let alive: Vec<HostId> = statuses.iter().filter(|(_, status)| status.online).map(|(host, _)| *host).collect();
        let (sessions, files) = tokio::try_join!(
            self.store().access().carried(touched, &alive),
            self.store().access().files_of(&touched.servers, now)
        )?;
        let after = &before.with(known.revision, changes);
        let online = &alive.into_iter().collect::<BTreeSet<_>>();
        let mut effect = Difference { before, after, touched, online, now }.effect(&sessions, &files);
        self.name(&mut effect.cut_off).await?;
        Ok(effect)
    }

    /// Finds out what those who are cut off are called.
    async fn name(&self, cut_off: &mut [CutOff]) -> Result<(), ServiceError> {
        let users: Vec<UserId> = cut_off.iter().map(|one| one.user_id).collect();
        let profiles: Vec<ProfileId> = cut_off.iter().map(|one| one.profile_id).collect();
        let (users, profiles) =
            tokio::try_join!(self.store().names::<User, Name>(&users), self.store().names::<Profile, Name>(&profiles))?;
        for one in cut_off {
            one.user = users.get(&one.user_id).cloned();
            one.profile = profiles.get(&one.profile_id).cloned();
        }
        Ok(())
    }
}
