//! What to do about a failure or a warning. What runs on a host gives a code with typed arguments, and whoever shows the hint words it:
//! so a host can choose among kboot's advice, and give none of its own.
//!
//! To add one: a line in `hints!`, with its arguments and its words. Arguments of text are [`argument`]'s words, which are checked where
//! they arrive. A code and the names of its arguments are in documents that programs read: rename none.

mod argument;
#[cfg(test)]
mod tests;
pub(super) mod wire;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use argument::{
    Component, HostWord, ImageWord, Instead, Machine, ModuleWord, PackageWord, PackageWords, PathWord, ServerWord,
    UnitWord, ValueWord,
};

/// What people read in place of the inventory's file where no command has named it.
const UNNAMED: &str = "INVENTORY";

/// The place of the inventory's file in the controller's own words: a character that no words have. Coded hints have `{inventory}`.
pub const INVENTORY: char = '\u{f8ff}';

/// Makes the hints that have a code: the variant's name, in kebab case, is the code.
macro_rules! hints {
    ($inventory:ident; $($name:ident $({ $($field:ident: $kind:ty),+ })? => $words:literal;)+) => {
        /// Advice, with what it is filled with. Its words are its [`fmt::Display`].
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "hintCode", content = "hintArgs", rename_all = "kebab-case")]
        pub enum Hint {
            $($name $({ $($field: $kind),+ })?,)+
            /// The controller's own words. They cross no wire: what hosts say is never read as this.
            #[serde(skip)]
            Text(String),
            /// A hint of a run with this inventory's file.
            #[serde(skip)]
            Filled { hint: Box<Hint>, inventory: String },
        }

        #[cfg(test)]
        impl Hint {
            /// One of each that has a code.
            fn samples() -> Vec<Self> {
                vec![$(Self::$name $({ $($field: tests::Sample::sample()),+ })?),+]
            }
        }

        impl Hint {
            fn words(&self, $inventory: &str) -> String {
                match self {
                    $(Self::$name $({ $($field),+ })? => format!($words),)+
                    Self::Text(text) => text.replace(INVENTORY, $inventory),
                    Self::Filled { hint, inventory } => hint.words(inventory),
                }
            }
        }
    };
}

hints! {
    inventory;

    // Runs, plans, locks.
    RunAgain => "run the same command again: it goes on where this one stopped";
    MakeNewPlan => "make a new plan, and see what it says";
    RepairDrift => "`--drift repair` brings it back";
    FindOtherManager => "something else on the host changes it back: look for configuration management or a package hook";
    WaitForOtherRun => "wait until it is done, then run the same command again; with `--wait-lock 10m` it waits by itself";
    LookAtOtherRun => "see what it waits for where it was started; it ends with Ctrl-C there, after the change in hand";
    OtherRunWrites => "another kboot works on this host: run the same command again";
    BaselineUnwritten => "without it, `kboot reset` can't report what it leaves behind";
    RemoveBaseline { path: PathWord } => "`rm {path}`";
    RunNewerKboot => "use the kboot version that wrote it, or a newer one";
    RestoreJournal => "remove that line, or restore the file from a backup; undo and reset restore what the journal records";

    // The conversation with an agent, as the controller sees it.
    ReconnectAndRunAgain => "see that the host is up, then run the same command again: it goes on where this one stopped";
    OtherProgramAnswers => "another program answers in its place: see what starts on the host at login, and run the same command again";
    SuspectHost => "kboot's own agent does not do this: see what runs on that host before you use it again";
    HostIsSilent => "see whether it still works: a disk that hangs or a full memory stops it (`journalctl -k -n 20` there); then run \
                     the same command again";
    HostIsSlow => "see on the host what it does: `journalctl -n 50`, `ps auxf`";

    // The machine.
    DiskFull => "the disk is full: free some space (`df -h`), then run the same command again";
    FileSystemReadOnly => "the file system is read-only: see `dmesg` for why, `mount -o remount,rw` fixes it";
    MountProc => "kboot needs a Linux host with /proc mounted";
    CopyLinkTarget { path: PathWord } => "see where it leads: `readlink -f {path}`; put a copy in its place";
    Unmount { path: PathWord } => "see what it is: `findmnt {path}`; after `umount {path}` the same command goes on";
    InstallModule { module: ModuleWord } => "the kernel has no module {module}: install the distribution's full kernel package, or boot \
                                             one that has it";
    FindSysctl { path: PathWord } => "see `sysctl -a`; one of a module is there once the module is loaded: {path}";
    UnitJournal { unit: UnitWord } => "see `journalctl -u {unit}` on the host";
    UnitStatus { unit: UnitWord } => "see `systemctl status {unit}` on the host";
    InstallRuntime => "install the container runtime first: `kboot up` does, and so does `kboot phase init prepare`";
    RuntimeIsSilent => "the container runtime does not answer; see why: `journalctl -u containerd -n 50`";
    InspectImage { image: ImageWord } => "see what it has: `crictl inspecti {image}`";

    // Commands of playbooks.
    InstallGuard => "see that its program is installed, or use a guard that needs none, as `creates`";
    CorrectGuard => "correct the command or its guard: a run that repeats the command each time can never finish";
    GuardIsSlow => "a guard is asked in every run, dry ones too: it should answer at once";

    // Repositories and packages.
    RemoveSource { own: PathWord, other: PathWord } => "kboot writes {own} with the repository's key; two files with different keys \
                                                        stop apt altogether: `rm {other}`";
    AddFingerprint => "add `fingerprint:` beside `keyUrl:` in the inventory";
    GiveKey => "give the repository's public key: unsigned packages are not installed";
    CheckKeyFile => "see that `keyUrl` or `keyFile` in the inventory leads to the repository's public key: `gpg --show-keys FILE` \
                     lists what a file has";
    CompareKey => "someone may be in between, or the repository has a new key: compare with what its owner publishes, then add its \
                   fingerprint to `fingerprint` in the inventory";
    FetchKeyAgain => "get the key again from the repository's owner: expired keys are extended under the same fingerprint";
    ShowPolicy { packages: PackageWords } => "no repository of this host has it: see `apt-cache policy {packages}`";
    ShowRepositories { package: PackageWord } => "see which repositories have it: `apt-cache policy {package}`";
    ShowPolicyAndInventory { packages: PackageWords } => "see `apt-cache policy {packages}` there, and `packages` in the inventory";
    RemoveDependents { packages: PackageWords } => "if nobody needs them, remove them first: `apt-get remove {packages}`";
    UseDockerRepository => "leave out `packages.containerd.distribution` to take containerd.io from Docker's repository";
    AddToLock => "`kboot lock` adds it";
    MoveLock => "`kboot lock --update` shows what moved and takes it";
    PackageDiffers => "ask the repository's owner why it differs, and see who changed the lock";
    LockedVersionGone => "the repository no longer has the locked version: `kboot lock --update` moves on to what it has";

    // What is fetched.
    FixDns { name: ServerWord, instead: Instead } => "fix the host's DNS (`getent hosts {name}` shows it), or {instead}";
    OpenWay { server: ServerWord, instead: Instead } => "let this host reach {server} (a route, a firewall, a proxy), or {instead}";
    LetDownloadsPass { server: ServerWord, instead: Instead } => "a proxy or firewall on the way to {server} ends long downloads: let \
                                                                  them pass, or {instead}";
    WaitForMirror { server: ServerWord, instead: Instead } => "wait until {server} has the same state everywhere, then run the same \
                                                               command again, or {instead}";
    WaitForServer { server: ServerWord, instead: Instead } => "run the same command again when {server} is well, or {instead}";
    WaitForRate { instead: Instead } => "run the same command again later, or {instead}";
    CheckKeyUrl => "check `keyUrl` in the inventory";
    CheckRepository => "check `url`, `suite` and `components` in `packages` in the inventory";
    CheckImage => "check the image's name and tag, and `images.repository` in the inventory";
    AskForAccess { server: ServerWord, instead: Instead } => "find out what {server} wants of this host (a login, an address that it \
                                                              allows), or {instead}";
    TrustIssuer { machine: Machine } => "if you trust that CA, put its certificate into /usr/local/share/ca-certificates/NAME.crt \
                                         {machine} and run `update-ca-certificates`";
    RenewCertificate { server: ServerWord, instead: Instead } => "the owner of {server} has to renew it; until then {instead}";
    SetClock => "set the host's clock: `timedatectl set-ntp true`, or `date -s 'YYYY-MM-DD HH:MM'`";
    CheckServerName { server: ServerWord } => "check the name in the address, and what answers for {server} on this network";
    CheckTls { server: ServerWord } => "check the address: whether {server} speaks TLS there, and what is on the way to it";
    LogIn { server: ServerWord, instead: Instead } => "something between this host and {server} wants a login, or the address is wrong: \
                                                       open it in a browser on this network, or {instead}";
    CheckAddress { instead: Instead } => "check the address, or {instead}";
    AddSigningKey => "if the repository's owner has published that key, add its fingerprint to `fingerprint` in the inventory (it takes \
                      a list), remove the repository's file in /etc/apt/keyrings on the host, and run the same command again";
    RenewSigningKey => "owners extend a key under the same fingerprint: remove the repository's file in /etc/apt/keyrings on the host, \
                        and run the same command again";
    DoNotInstall { server: ServerWord, instead: Instead } => "do not install from it: find out what answers for {server} on this \
                                                              network, or {instead}";
    CheckWay { server: ServerWord, instead: Instead } => "see that this host reaches {server}, or {instead}";

    // Certificates and kubeconfigs.
    RestoreKey { certificate: PathWord } => "put the key back, or remove {certificate} to have a new one issued";
    RemoveCertificate { certificate: PathWord, key: PathWord } => "kboot never overwrites keys: to have it issued again, run \
                                                                   `rm {certificate} {key}` first";
    IssueElsewhere { certificate: PathWord, key: PathWord } => "have your external CA issue {certificate} and its key, or put {key} \
                                                                there";
    RestorePrivateKey { public: PathWord } => "put the key back, or remove {public} to have a new pair made";
    PutKubeconfigs => "with an external CA, put all kubeconfigs in /etc/kubernetes yourself";
    RemoveKubeconfig { path: PathWord } => "to have it recreated, run `rm {path}` first";
    ShareCertificates => "put it there, or give the new control planes certificates made elsewhere";
    CopyFromEtcdHost => "put it there, as from another etcd host";
    CheckExpiration => "see `kubeadm certs check-expiration` on the host";
    WatchRequests => "see `journalctl -u kubelet` on the host, and `kubectl get csr` for requests that nobody approved";

    // Nodes and pods.
    UseControlPlane => "run this on a control plane";
    ApiServerIsSilent => "on a control plane, `crictl ps -a` shows whether it runs and `journalctl -u kubelet -n 50` why not";
    StaticPods => "see `crictl ps -a`, `crictl logs ID` and `journalctl -u kubelet` on the host";
    Pods => "see `kubectl get pods -A -o wide` and `kubectl describe pod`";
    Nodes => "see `kubectl describe node NAME` and `kubectl get pods -A -o wide`";
    KubeletSettings => "see what `kubelet.config` in the inventory says; put back what was there before, and run the same command again";
    ComponentSettings { component: Component } => "see what `controlPlane.{component}` in the inventory has it start with; put back \
                                                   what was there before, and run the same command again";
    RenameNode => "another machine is a node of this name: give the new host another `name` in the inventory, or take the other machine \
                   out of the cluster first";
    DeleteNode => "once it answers: `kubectl delete node NAME`";
    ExtendDrain => "they end with the node; a longer --drain-timeout gives them more time";
    NameInterface => "name the one that is to get the virtual address: `vip.interface` in the inventory";
    MoveBalancer => "move what it serves to another host, or set `endpoint` in the inventory to something of your own";

    // etcd.
    CheckEtcd => "check etcd on a control plane: `crictl ps -a --name etcd` and `crictl logs ID`";
    EtcdJoins => "see `crictl ps -a --name etcd`, `crictl logs ID` and `journalctl -u kubelet` on the host, and etcd's log on the other \
                  members' hosts";
    EtcdMoves => "see on the control planes how etcd is: `crictl ps -a --name etcd` and `crictl logs ID`; hosts that all lost their \
                  former addresses at once can't find each other: give the addresses back until the move is done, or see `kboot recover`";
    MakeRoomInEtcd => "delete what fills it, compact and defragment, or raise `controlPlane.etcd.extraArgs.quota-backend-bytes` in the \
                       inventory; the same command then clears the alarm";
    ResetEtcdHost => "if nothing there is needed, run `kboot reset` on the host, then run the same command again";
    OtherLearner => "run `kboot up` with the inventory that has its host, or take that host out with `kboot reset -i {inventory} --host \
                     NAME`; a member of no host of the inventory is removed by `kboot up` on the control plane that leads, or by hand: \
                     `etcdctl member remove ID`";
    AddMemberAgain => "run the same command again: it is added again";
    ReplaceSilentMembers => "bring back or replace those that do not answer first; nothing was changed";
    RestoreMajority => "without a majority of its members etcd changes nothing: bring back a control plane that is down, or reset all \
                        hosts of the inventory";
    AddEtcdHosts => "put other hosts with the role `etcd` beside them first, or reset all hosts; nothing was changed";
    Recover { from: HostWord } => "bring back one of those that do not answer; if they are gone for good, `kboot recover -i {inventory} \
                                   --from {from}` goes on with what {from} has";
    NothingToRecover => "there is nothing to recover";
    RecoveryStopped { copies: PathWord } => "see `crictl ps -a` and `crictl logs ID` on the host, and run the same command again; the \
                                             earlier data is in {copies}";
    RecoverFromData => "name another control plane with --from, one whose data are there";
    RecoverFromOther => "name another control plane with --from";
    StartSurvivor => "etcd must run on the host that the cluster goes on with: see `crictl ps -a --name etcd` and `crictl logs ID` there, \
                      and start the kubelet if it does not run";
    RunUp => "`kboot up` repairs the other members, or replaces them";
    CheckReach => "see why this host does not reach the other members; a leader that is gone is noticed within seconds";
    MakeRoom => "make room, or mount a larger disk there; nothing was changed";
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::disguise::words(self.words(UNNAMED)))
    }
}

impl Hint {
    /// The controller's own words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The same with the inventory's file in its commands, which then work as they stand.
    pub fn with_inventory(self, path: &str) -> Self {
        Self::Filled { hint: Box::new(self), inventory: path.into() }
    }

    /// What has a code and arguments; None for the controller's own words.
    fn coded(&self) -> Option<&Self> {
        match self {
            Self::Text(_) => None,
            Self::Filled { hint, .. } => hint.coded(),
            hint => Some(hint),
        }
    }
}
