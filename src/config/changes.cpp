#include "saathii/config/changes.hpp"

#include <algorithm>

#include "keys.hpp"
#include "triggers.hpp"

namespace saathii::config {
namespace {

void note(bool same, std::string path, std::vector<std::string>& changed, Changes& changes) {
  if (same) {
    ++changes.unchanged;
  } else {
    changed.push_back(std::move(path));
  }
}

/// "every = …" becomes "every".
std::string trigger_key(const Job& job) {
  const auto printed = print_trigger(job.trigger, job.trigger.zone()->name());
  return printed.substr(0, printed.find(' '));
}

void compare_job(const Job& before, const Job& after, const KindInfo& kind, Changes& changes) {
  const auto path = "jobs." + after.name + ".";
  note(before.trigger.describe() == after.trigger.describe(), path + trigger_key(after),
       changes.applied, changes);
  for (const auto& key : job_keys(kind)) {
    note(key.get(before) == key.get(after), path + std::string(key.name), changes.applied, changes);
  }
}

const Job* find_job(const Config& config, std::string_view name) {
  const auto found = std::find_if(config.jobs.begin(), config.jobs.end(),
                                  [&](const Job& job) { return job.name == name; });
  return found == config.jobs.end() ? nullptr : &*found;
}

}  // namespace

Changes compare(const Config& before, const Config& after, const std::vector<KindInfo>& kinds) {
  Changes changes;
  for (const auto& section : sections()) {
    const auto prefix = section.name.empty() ? "" : std::string(section.name) + ".";
    for (const auto& key : section.keys) {
      note(key.get(before) == key.get(after), prefix + std::string(key.name),
           section.needs_restart ? changes.needs_restart : changes.applied, changes);
    }
  }
  for (const auto& job : after.jobs) {
    const auto* old = find_job(before, job.name);
    const auto kind = std::find_if(kinds.begin(), kinds.end(),
                                   [&](const KindInfo& info) { return info.name == job.kind; });
    if (old == nullptr || old->kind != job.kind) {
      changes.applied.push_back("jobs." + job.name);
    } else if (kind != kinds.end()) {
      compare_job(*old, job, *kind, changes);
    }
  }
  for (const auto& job : before.jobs) {
    if (find_job(after, job.name) == nullptr) changes.applied.push_back("jobs." + job.name);
  }
  return changes;
}

Config adopt(const Config& in_force, Config wanted) {
  for (const auto& section : sections()) {
    for (const auto& key : section.keys) {
      if (section.needs_restart) key.set(wanted, key.get(in_force));
    }
  }
  return wanted;
}

}  // namespace saathii::config
