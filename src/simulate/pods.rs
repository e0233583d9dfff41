//! The instances of services: their names, versions and lives.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::chance::{Chance, Use};
use super::metrics::PodMetrics;
use super::model::{MODEL, text};
use super::season::SECOND_NS;

/// Time between one instance and the next when a service is deployed.
pub(super) const ROLLING_NS: i64 = 20 * SECOND_NS;

/// How long an instance is slow after its start, and how many times at first.
pub(super) const COLD_NS: i64 = 60 * SECOND_NS;
const COLD_FACTOR: f64 = 4.0;

/// Seconds between two exports of an instance's metrics.
pub(super) const EXPORT_SECONDS: i64 = 15;

/// Machines that instances run on.
const HOSTS: usize = 6;

/// An instance. Numbers are not used again.
pub(super) type PodId = u32;

pub(super) struct Pod {
    pub service: usize,
    /// Its place among the instances of the service.
    pub slot: usize,
    pub started_ns: i64,
    /// When another took its place.
    pub ended_ns: i64,
    /// It ran long before the simulation began.
    is_warm: bool,
    pub resource: Resource,
    pub scope: InstrumentationScope,
    /// The second, of each [`EXPORT_SECONDS`], in which it exports metrics.
    pub export_second: i64,
    /// How much more or less than others it uses.
    pub bias: f64,
    pub metrics: PodMetrics,
}

impl Pod {
    /// How many times as long its work takes.
    pub fn coldness(&self, at_ns: i64) -> f64 {
        let age_ns = at_ns - self.started_ns;
        if self.is_warm || age_ns >= COLD_NS {
            return 1.0;
        }
        1.0 + (COLD_FACTOR - 1.0) * (1.0 - age_ns.max(0) as f64 / COLD_NS as f64)
    }
}

pub(super) struct Pods {
    seed: u64,
    by_id: BTreeMap<PodId, Pod>,
    /// For each service and slot who serves it from when on.
    slots: Vec<Vec<Vec<(i64, PodId)>>>,
    versions: Vec<[u16; 3]>,
    next_id: PodId,
}

impl Pods {
    /// The instances of all services, running since before `start_ns`.
    pub fn new(seed: u64, start_ns: i64) -> Self {
        let versions = MODEL.services.iter().map(|s| s.spec.version).collect();
        let slots = MODEL.services.iter().map(|s| vec![vec![]; s.spec.instances]).collect();
        let mut pods = Pods { seed, by_id: BTreeMap::new(), slots, versions, next_id: 0 };
        for service in 0..MODEL.services.len() {
            for slot in 0..MODEL.services[service].spec.instances {
                pods.start(service, slot, start_ns, true);
            }
        }
        pods
    }

    pub fn get(&self, id: PodId) -> &Pod {
        &self.by_id[&id]
    }

    pub fn get_mut(&mut self, id: PodId) -> Option<&mut Pod> {
        self.by_id.get_mut(&id)
    }

    /// The instances that run at some time of the second before `clock_ns`, in the order of their numbers.
    pub fn running(&mut self, clock_ns: i64) -> impl Iterator<Item = (PodId, &mut Pod)> {
        let is_running = move |pod: &Pod| pod.started_ns < clock_ns && pod.ended_ns > clock_ns - SECOND_NS;
        self.by_id.iter_mut().filter(move |(_, pod)| is_running(pod)).map(|(id, pod)| (*id, pod))
    }

    /// An instance of `service` that serves at a moment.
    pub fn pick(&self, service: usize, at_ns: i64, chance: &mut Chance) -> PodId {
        let slots = &self.slots[service];
        let lives = &slots[chance.below(slots.len())];
        let life = lives.iter().rev().find(|(from_ns, _)| *from_ns <= at_ns);
        life.unwrap_or(&lives[0]).1
    }

    /// Replaces the instances of `service` one by one from `at_ns` on by those of a new version. Returns the version
    /// before and the new one.
    pub fn deploy(&mut self, service: usize, at_ns: i64) -> (String, String) {
        let before = self.version(service);
        let version = &mut self.versions[service];
        // Mostly fixes, now and then something new.
        if Chance::new(self.seed, Use::Pod, u64::from(self.next_id)).happens(0.3) {
            *version = [version[0], version[1] + 1, 0];
        } else {
            version[2] += 1;
        }
        for slot in 0..self.slots[service].len() {
            let from_ns = at_ns + ROLLING_NS * slot as i64;
            let last = self.slots[service][slot].last().map(|(_, id)| *id);
            if let Some(pod) = last.and_then(|id| self.by_id.get_mut(&id)) {
                pod.ended_ns = from_ns;
            }
            self.start(service, slot, from_ns, false);
        }
        (before, self.version(service))
    }

    /// Forgets instances that ended before `now_ns`, except those that `is_needed`.
    pub fn forget(&mut self, now_ns: i64, is_needed: impl Fn(PodId) -> bool) {
        for lives in self.slots.iter_mut().flatten() {
            let current = lives.iter().rposition(|(from_ns, _)| *from_ns <= now_ns).unwrap_or(0);
            lives.drain(..current);
        }
        self.by_id.retain(|id, pod| pod.ended_ns > now_ns || is_needed(*id));
    }

    fn version(&self, service: usize) -> String {
        let [major, minor, patch] = self.versions[service];
        format!("{major}.{minor}.{patch}")
    }

    fn start(&mut self, service: usize, slot: usize, at_ns: i64, is_warm: bool) {
        let id = self.next_id;
        self.next_id += 1;
        // Ids count instances; the version counts deploys.
        let mut chance = Chance::new(self.seed, Use::Pod, (1 << 32) | u64::from(id));
        let pod = Pod {
            service,
            slot,
            started_ns: at_ns,
            ended_ns: i64::MAX,
            is_warm,
            resource: self.resource(service, &mut chance),
            scope: InstrumentationScope {
                name: format!("shop.{}", MODEL.services[service].spec.name),
                version: self.version(service),
                ..InstrumentationScope::default()
            },
            export_second: chance.below(EXPORT_SECONDS as usize) as i64,
            bias: chance.between(0.92, 1.08),
            metrics: PodMetrics::new(service, at_ns),
        };
        self.by_id.insert(id, pod);
        self.slots[service][slot].push((at_ns, id));
    }

    fn resource(&self, service: usize, chance: &mut Chance) -> Resource {
        let spec = MODEL.services[service].spec;
        let [major, minor, patch] = self.versions[service];
        let version = u64::from(major) << 32 | u64::from(minor) << 16 | u64::from(patch);
        // All instances of a version share the middle of their names.
        let number = (2 << 52) | ((service as u64) << 44) | (version & 0xfff_ffff_ffff);
        let set = Chance::new(self.seed, Use::Pod, number).number() as u32;
        let uuid: [u8; 16] = chance.id();
        let uuid = (u128::from_be_bytes(uuid) & !(0xf << 76) & !(0x3 << 62)) | (4 << 76) | (2 << 62);
        let hex = format!("{uuid:032x}");
        let instance =
            format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        let pod = format!("{}-{set:08x}-{:05x}", spec.name, chance.number() as u32 & 0xf_ffff);
        Resource {
            attributes: vec![
                text("service.name", spec.name),
                text("service.version", &self.version(service)),
                text("service.namespace", "shop"),
                text("service.instance.id", &instance),
                text("deployment.environment.name", "production"),
                text("k8s.namespace.name", "shop"),
                text("k8s.pod.name", &pod),
                text("host.name", &format!("node-{}", 1 + chance.below(HOSTS))),
                text("telemetry.sdk.language", spec.language),
            ],
            ..Resource::default()
        }
    }
}
