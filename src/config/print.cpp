#include "document.hpp"
#include "keys.hpp"
#include "saathii/config/loader.hpp"
#include "triggers.hpp"

namespace saathii::config {
namespace {

template <class Target>
std::string print_keys(const std::vector<Key<Target>>& keys, const Target& target) {
  std::string lines;
  for (const auto& key : keys) {
    lines += std::string(key.name) + " = " + print_value(key.get(target), key.rule) + "\n";
  }
  return lines;
}

std::string print_job(const Job& job, const KindInfo& kind, std::string_view zone) {
  std::string lines = "\n[jobs." + job.name + "]\n";
  if (job.kind != job.name) lines += "kind = " + toml_string(job.kind) + "\n";
  return lines + print_trigger(job.trigger, zone) + print_keys(job_keys(kind), job);
}

}  // namespace

std::string print(const Config& config, const std::vector<KindInfo>& kinds) {
  std::string text;
  for (const auto& section : sections()) {
    if (!section.name.empty()) text += "\n[" + std::string(section.name) + "]\n";
    text += print_keys(section.keys, config);
  }
  for (const auto& job : config.jobs) {
    for (const auto& kind : kinds) {
      if (kind.name == job.kind) text += print_job(job, kind, config.platform.timezone);
    }
  }
  return text;
}

}  // namespace saathii::config
