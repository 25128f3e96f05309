#include "job_tables.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "keys.hpp"
#include "saathii/config/nearest.hpp"
#include "triggers.hpp"

namespace saathii::config {
namespace {

constexpr std::size_t longest_name_bytes = 63;

const KindInfo* find_kind(const std::vector<KindInfo>& kinds, std::string_view name) {
  const auto found = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const KindInfo& kind) { return kind.name == name; });
  return found == kinds.end() ? nullptr : &*found;
}

std::vector<std::string_view> names_of(const std::vector<KindInfo>& kinds) {
  std::vector<std::string_view> names;
  names.reserve(kinds.size());
  for (const auto& kind : kinds) names.push_back(kind.name);
  return names;
}

/// Names stand in the ledger, in metrics, in object paths and in file names.
bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= longest_name_bytes && text[0] >= 'a' && text[0] <= 'z' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

const Entry* find_entry(const Table& table, std::string_view key) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const Entry& entry) { return entry.key == key; });
  return found == table.end() ? nullptr : &*found;
}

class JobReader {
 public:
  JobReader(const std::vector<KindInfo>& kinds, TimeZone zone, Findings& findings)
      : kinds_(kinds), zone_(zone), findings_(findings) {}

  std::optional<Job> read(const Entry& entry) const {
    const auto path = "jobs." + entry.key;
    const auto* table = std::get_if<Table>(&entry.node.value);
    if (table == nullptr) {
      findings_.add(entry.node.at,
                    path + ": found " + describe(entry.node) + "; allowed: a table [" + path + "]");
      return std::nullopt;
    }
    const auto* kind = kind_of(entry, *table, path);
    if (kind == nullptr) return std::nullopt;
    if (!is_name(entry.key)) {
      findings_.add(entry.key_at, path + ": found the job name " + quote(entry.key) +
                                      "; allowed: a to z, 0 to 9 and '_', a letter first, at most "
                                      "63 characters");
    }
    auto job = default_job(*kind, zone_);
    job.name = entry.key;
    read_keys(*table, path, *kind, job);
    auto trigger = read_trigger(*table, entry.node.at, path, zone_, !job.enabled, findings_);
    if (trigger) job.trigger = *std::move(trigger);
    check(path, job);
    return job;
  }

 private:
  /// A table named as a kind is of that kind; any other says which it is. Of a
  /// misspelt one the rest is still checked, as of the kind that is meant.
  const KindInfo* kind_of(const Entry& entry, const Table& table, const std::string& path) const {
    const auto names = names_of(kinds_);
    const auto* own = find_kind(kinds_, entry.key);
    const auto* key = find_entry(table, "kind");
    if (key == nullptr) {
      if (own != nullptr) return own;
      findings_.add(entry.key_at, path + ": found the unknown job " + quote(entry.key) + "; " +
                                      suggest(entry.key, names, "jobs") +
                                      " (a further instance of a job has a key kind)");
      return find_kind(kinds_, nearest(entry.key, names));
    }
    const auto* text = std::get_if<std::string>(&key->node.value);
    const auto word = text == nullptr ? std::string_view{} : std::string_view(*text);
    const auto* kind = find_kind(kinds_, word);
    if (kind == nullptr) {
      findings_.add(key->node.at, path + ".kind: found " + describe(key->node) + "; " +
                                      suggest(word, names, "kinds"));
      return own != nullptr ? own : find_kind(kinds_, nearest(word, names));
    }
    if (own != nullptr && kind != own) {
      findings_.add(key->node.at, path + ".kind: found " + describe(key->node) +
                                      "; allowed: only \"" + entry.key +
                                      "\" for a job of that name");
      return own;
    }
    return kind;
  }

  void read_keys(const Table& table, const std::string& path, const KindInfo& kind,
                 Job& job) const {
    const auto keys = job_keys(kind);
    std::vector<std::string_view> known = {"kind", zone_name};
    known.insert(known.end(), trigger_names.begin(), trigger_names.end());
    for (const auto& key : keys) known.push_back(key.name);
    for (const auto& entry : table) {
      const auto key = std::find_if(keys.begin(), keys.end(),
                                    [&](const auto& k) { return k.name == entry.key; });
      if (key != keys.end()) {
        const auto key_path = path + "." + entry.key;
        findings_.remember(key_path, entry.node.at);
        if (const auto value = read_value(entry.node, key->rule, key_path, findings_)) {
          key->set(job, *value);
        }
      } else if (std::find(known.begin(), known.end(), entry.key) == known.end()) {
        findings_.add(entry.key_at, "unknown key " + quote(entry.key) + " in [" + path + "]; " +
                                        suggest(entry.key, known, "keys"));
      }
    }
  }

  void check(const std::string& path, const Job& job) const {
    if (job.run.retry_backoff_cap >= job.run.retry_backoff) return;
    auto at = findings_.place(path + ".retry_backoff_cap");
    if (at.line == 0) at = findings_.place(path + ".retry_backoff");
    findings_.add(at, path + ".retry_backoff_cap: found \"" +
                          format_duration(job.run.retry_backoff_cap) +
                          "\"; allowed: at least retry_backoff, which is \"" +
                          format_duration(job.run.retry_backoff) + "\"");
  }

  const std::vector<KindInfo>& kinds_;
  TimeZone zone_;
  Findings& findings_;
};

}  // namespace

Job default_job(const KindInfo& kind, TimeZone zone) {
  const auto name = std::string(kind.name);
  Findings findings("the default trigger of " + name);
  Table table;
  const auto problem = read_document(kind.default_trigger, name, table);
  auto trigger = problem ? std::nullopt : read_trigger(table, {}, name, zone, false, findings);
  if (!trigger) throw std::logic_error("the default trigger of the job kind " + name + " is wrong");
  return {name,
          name,
          kind.scope,
          true,
          *std::move(trigger),
          kind.default_policy,
          kind.default_run,
          Settings(kind.settings)};
}

void read_jobs(const Table* jobs, const std::vector<KindInfo>& kinds, TimeZone zone, Config& config,
               Findings& findings) {
  const Table none;
  const auto& table = jobs == nullptr ? none : *jobs;
  const JobReader reader(kinds, zone, findings);
  for (const auto& kind : kinds) {
    const auto* entry = find_entry(table, kind.name);
    auto job = entry == nullptr ? default_job(kind, zone) : reader.read(*entry);
    if (job) config.jobs.push_back(*std::move(job));
  }
  for (const auto& entry : table) {
    if (find_kind(kinds, entry.key) != nullptr) continue;
    if (auto job = reader.read(entry)) config.jobs.push_back(*std::move(job));
  }
}

}  // namespace saathii::config
