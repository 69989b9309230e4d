//! A config and wishes, put together as `config.json`.

use std::collections::BTreeSet;

use oci_spec::runtime::{
    LinuxBuilder, LinuxDeviceCgroupBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResourcesBuilder,
    LinuxSeccomp, ProcessBuilder, RootBuilder, SpecBuilder, UserBuilder, get_default_maskedpaths,
    get_default_readonly_paths,
};

use crate::{error::Error, model::Config};

use super::{
    ACCOUNTS_MAX, BundleError, BundleOptions, ImageFiles, Network, Seccomp, annotation, capability, mounts,
    seccomp, user,
};

/// Where programs are looked for if the image does not say.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the runtime must understand.
const VERSION: &str = "1.0.2";

fn refused(error: impl std::fmt::Display) -> BundleError {
    BundleError::Specification { reason: error.to_string() }
}

/// The name of `NAME=VALUE`.
fn name(variable: &str) -> Result<&str, BundleError> {
    match variable.split_once('=') {
        Some((name, _)) if !name.is_empty() && !variable.contains('\0') => Ok(name),
        _ => Err(BundleError::Variable { text: variable.to_owned() }),
    }
}

/// Variables in the order in which they first came, each with its last value.
#[derive(Debug, Default)]
struct Variables(Vec<String>);

impl Variables {
    fn set(&mut self, variable: &str) -> Result<(), BundleError> {
        let wanted = name(variable)?;
        match self.0.iter_mut().find(|known| name(known).is_ok_and(|known| known == wanted)) {
            Some(known) => variable.clone_into(known),
            None => self.0.push(variable.to_owned()),
        }
        Ok(())
    }

    fn has(&self, wanted: &str) -> bool {
        self.0.iter().any(|known| name(known).is_ok_and(|known| known == wanted))
    }
}

fn absolute(what: &'static str, path: &str) -> Result<(), BundleError> {
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(());
    }
    Err(BundleError::NotAbsolute { what, path: path.to_owned() })
}

/// What is run: the entry point and what follows it.
fn program(config: &Config, options: &BundleOptions) -> Result<Vec<String>, BundleError> {
    let settings = config.parsed().config().as_ref();
    let of_image = |list: Option<&Option<Vec<String>>>| list.cloned().flatten().unwrap_or_default();
    let mut words = match &options.entrypoint {
        Some(words) => words.clone(),
        None => of_image(settings.map(oci_spec::image::Config::entrypoint)),
    };
    if !options.command.is_empty() {
        words.extend(options.command.iter().cloned());
    } else if options.entrypoint.is_none() {
        words.extend(of_image(settings.map(oci_spec::image::Config::cmd)));
    }
    match words.first() {
        Some(first) if !first.is_empty() => Ok(words),
        _ => Err(BundleError::NoProgram),
    }
}

fn environment(
    config: &Config,
    options: &BundleOptions,
    home: Option<&str>,
) -> Result<Vec<String>, BundleError> {
    let mut variables = Variables::default();
    variables.set(PATH)?;
    variables.set(&format!("HOSTNAME={}", options.hostname))?;
    // What programs ask that want to know whether they are in a container.
    variables.set("container=oci")?;
    if options.terminal {
        variables.set("TERM=xterm")?;
    }
    let settings = config.parsed().config().as_ref();
    for variable in settings.and_then(|settings| settings.env().as_ref()).into_iter().flatten() {
        // An image may list a name alone; it is of no use to a process.
        if name(variable).is_ok() {
            variables.set(variable)?;
        }
    }
    for variable in &options.env {
        variables.set(variable)?;
    }
    if !variables.has("HOME") {
        variables.set(&format!("HOME={}", home.unwrap_or("/")))?;
    }
    Ok(variables.0)
}

fn system_calls(
    wanted: &Seccomp,
    capabilities: &BTreeSet<String>,
) -> Result<Option<LinuxSeccomp>, BundleError> {
    match wanted {
        Seccomp::Profile { place, text } => seccomp::decide(place, text, capabilities).map(Some),
        Seccomp::BuiltIn => seccomp::decide("built in", seccomp::BUILT_IN, capabilities).map(Some),
        Seccomp::Unconfined => Ok(None),
    }
}

fn namespaces(options: &BundleOptions) -> Result<Vec<oci_spec::runtime::LinuxNamespace>, BundleError> {
    use LinuxNamespaceType as Type;
    let mut types = vec![Type::Pid, Type::Ipc, Type::Uts, Type::Mount];
    if options.namespace.is_none() {
        types.push(Type::Cgroup);
    }
    if options.network == Network::None {
        types.push(Type::Network);
    }
    types
        .into_iter()
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build().map_err(refused))
        .collect()
}

/// Makes the `config.json` of a bundle whose root file system is at `rootfs`: the image's config as the options
/// change it, with user and groups looked up in the image's files.
///
/// The same input gives the same bytes. The root file system has to be one where places for mounts can be made, also
/// if the container may not change it.
///
/// # Errors
/// [`BundleError`], as [`Error::Bundle`]; what [`ImageFiles::read`] gives.
pub fn config_json(
    config: &Config,
    files: &dyn ImageFiles,
    rootfs: &str,
    options: &BundleOptions,
) -> Result<Vec<u8>, Error> {
    let settings = config.parsed().config().as_ref();
    let args = program(config, options)?;

    let wanted = options.user.clone().or_else(|| settings?.user().clone()).unwrap_or_default();
    let read = |path: &str| Ok::<_, Error>(files.read(path, ACCOUNTS_MAX)?.unwrap_or_default());
    let mut account = user::look_up(&wanted, &read("/etc/passwd")?, &read("/etc/group")?)?;
    if let Some(namespace) = options.namespace {
        account.fit(namespace)?;
    }
    let env = environment(config, options, account.home.as_deref())?;

    let of_image = settings.and_then(|settings| settings.working_dir().clone());
    let cwd = options.working_directory.clone().or(of_image).filter(|path| !path.is_empty());
    let cwd = cwd.unwrap_or_else(|| "/".to_owned());
    absolute("working directory", &cwd)?;
    let mut volumes = settings.and_then(|settings| settings.volumes().clone()).unwrap_or_default();
    volumes.sort_unstable();
    volumes.dedup();
    for path in &volumes {
        absolute("volume", path)?;
    }
    for volume in &options.volumes {
        absolute("volume", &volume.destination)?;
    }

    let capabilities = capability::names(&options.add_capabilities, &options.drop_capabilities)?;
    let build = || -> Result<serde_json::Value, BundleError> {
        let user = UserBuilder::default()
            .uid(account.uid)
            .gid(account.gid)
            .additional_gids(account.groups.clone())
            .build()
            .map_err(refused)?;
        let process = ProcessBuilder::default()
            .terminal(options.terminal)
            .user(user)
            .args(args)
            .env(env)
            .cwd(cwd)
            .capabilities(capability::of(&capabilities, account.uid)?)
            .rlimits(Vec::new())
            .no_new_privileges(options.no_new_privileges)
            .build()
            .map_err(refused)?;
        let mut masked = get_default_maskedpaths();
        masked.push("/sys/devices/virtual/powercap".to_owned());
        let mut linux = LinuxBuilder::default()
            .namespaces(namespaces(options)?)
            .masked_paths(masked)
            .readonly_paths(get_default_readonly_paths());
        if options.namespace.is_none() {
            // Devices that are made inside are of no use; what the runtime puts there is let through by it.
            let none = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build();
            let resources = LinuxResourcesBuilder::default().devices(vec![none.map_err(refused)?]);
            linux = linux.resources(resources.build().map_err(refused)?);
        }
        if let Some(seccomp) = system_calls(&options.seccomp, &capabilities)? {
            linux = linux.seccomp(seccomp);
        }
        let root =
            RootBuilder::default().path(rootfs).readonly(options.read_only).build().map_err(refused)?;
        let annotations: std::collections::HashMap<_, _> = annotation::of(config).into_iter().collect();
        let spec = SpecBuilder::default()
            .version(VERSION)
            .process(process)
            .root(root)
            .hostname(options.hostname.clone())
            .mounts(mounts::of(options, &volumes, files)?)
            .annotations(annotations)
            .linux(linux.build().map_err(refused)?)
            .build()
            .map_err(refused)?;
        serde_json::to_value(&spec).map_err(refused)
    };
    let mut document = build()?;
    // Sets and maps of these types have no order.
    sort(&mut document);
    let mut bytes = serde_json::to_vec_pretty(&document).map_err(refused)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Puts what has no order of its own into that of the alphabet: annotations and the sets of capabilities.
fn sort(document: &mut serde_json::Value) {
    if let Some(annotations) = document.get_mut("annotations").and_then(serde_json::Value::as_object_mut) {
        annotations.sort_keys();
    }
    let capabilities = document.pointer_mut("/process/capabilities");
    for list in
        capabilities.and_then(serde_json::Value::as_object_mut).into_iter().flat_map(|map| map.values_mut())
    {
        if let Some(list) = list.as_array_mut() {
            list.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
}
