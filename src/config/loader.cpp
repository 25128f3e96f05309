#include "saathii/config/loader.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <system_error>
#include <utility>

#include "alert_checks.hpp"
#include "document.hpp"
#include "findings.hpp"
#include "job_tables.hpp"
#include "keys.hpp"
#include "saathii/config/nearest.hpp"
#include "zones.hpp"

namespace saathii::config {
namespace {

constexpr std::size_t largest_file_bytes = 1 << 20;
constexpr std::string_view jobs_name = "jobs";

std::string join_path(std::string_view section, std::string_view key) {
  return section.empty() ? std::string(key) : std::string(section) + "." + std::string(key);
}

const Section* find_section(std::string_view name) {
  const auto& all = sections();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Section& section) { return section.name == name; });
  return found == all.end() ? nullptr : &*found;
}

/// The names of the tables directly in a section: "badges" holds "gold".
std::vector<std::string_view> tables_in(std::string_view section) {
  std::vector<std::string_view> names;
  const auto prefix = section.empty() ? std::string() : std::string(section) + ".";
  for (const auto& other : sections()) {
    if (other.name.size() <= prefix.size() || !other.name.starts_with(prefix)) continue;
    const auto name = other.name.substr(prefix.size());
    if (name.find('.') == std::string_view::npos) names.push_back(name);
  }
  if (section.empty()) names.push_back(jobs_name);
  return names;
}

/// Reads every section but the jobs, whose table it finds.
class SectionReader {
 public:
  SectionReader(Config& config, Findings& findings) : config_(config), findings_(findings) {}

  void read(const Section& section, const Table& table) {
    const auto tables = tables_in(section.name);
    for (const auto& entry : table) {
      const auto key = std::find_if(section.keys.begin(), section.keys.end(),
                                    [&](const auto& k) { return k.name == entry.key; });
      if (key != section.keys.end()) {
        read_key(*key, entry, join_path(section.name, entry.key));
      } else if (std::find(tables.begin(), tables.end(), entry.key) != tables.end()) {
        read_table(entry, join_path(section.name, entry.key));
      } else {
        add_unknown(section, tables, entry);
      }
    }
  }

  [[nodiscard]] const Table* jobs() const { return jobs_; }

 private:
  void read_key(const Key<Config>& key, const Entry& entry, const std::string& path) {
    findings_.remember(path, entry.node.at);
    if (const auto value = read_value(entry.node, key.rule, path, findings_)) {
      key.set(config_, *value);
    }
  }

  void read_table(const Entry& entry, const std::string& path) {
    findings_.remember(path, entry.node.at);
    const auto* table = std::get_if<Table>(&entry.node.value);
    if (table == nullptr) {
      findings_.add(entry.node.at,
                    path + ": found " + describe(entry.node) + "; allowed: a table [" + path + "]");
    } else if (path == jobs_name) {
      jobs_ = table;
    } else {
      read(*find_section(path), *table);
    }
  }

  void add_unknown(const Section& section, const std::vector<std::string_view>& tables,
                   const Entry& entry) {
    const bool is_table = std::holds_alternative<Table>(entry.node.value) && !tables.empty();
    std::vector<std::string_view> known = tables;
    if (!is_table) {
      for (const auto& key : section.keys) known.push_back(key.name);
    }
    const auto where = section.name.empty() ? "" : " in [" + std::string(section.name) + "]";
    findings_.add(entry.key_at, std::string(is_table ? "unknown section " : "unknown key ") +
                                    quote(entry.key) + where + "; " +
                                    suggest(entry.key, known, is_table ? "sections" : "keys"));
  }

  Config& config_;
  Findings& findings_;
  const Table* jobs_ = nullptr;
};

void override_from(const Environment& environment, Config& config, Findings& findings) {
  const auto value = [&](std::string_view name) {
    const auto found = environment(name);
    return found && !found->empty() ? found : std::nullopt;
  };
  std::string error;
  if (const auto url = value("DATABASE_URL")) {
    auto accepted = parse_postgres_url(*url, error);
    if (!accepted) findings.add_environment("DATABASE_URL", error);
    // A wrong one is not a missing one.
    config.postgres.url = accepted.value_or("postgresql://");
  }
  if (const auto url = value("REDIS_URL")) {
    if (!parse_redis_url(*url, error)) findings.add_environment("REDIS_URL", error);
    config.redis.url = *url;
  }
  if (const auto text = value("LOG_LEVEL")) {
    const auto level = read_level(*text);
    if (!level) {
      findings.add_environment(
          "LOG_LEVEL", "found " + quote(*text) + "; allowed: " + std::string(allowed_levels));
    }
    config.log.level = level.value_or(config.log.level);
  }
}

/// The passwords that the service manager was given for us to have (systemd:
/// LoadCredential=). Not read here: a check of the configuration needs none.
void find_credentials(const Environment& environment, Config& config) {
  const auto folder = environment("CREDENTIALS_DIRECTORY");
  if (!folder || folder->empty()) return;
  config.postgres.password.credential = *folder + "/postgres.password";
  config.redis.password.credential = *folder + "/redis.password";
  config.redis.sentinel_password.credential = *folder + "/sentinel.password";
  config.alerts.mail.password.credential = *folder + "/smtp.password";
  config.alerts.webhook.token.credential = *folder + "/webhook.token";
}

/// A password that was moved into a file and not taken out of the URL would go on
/// being used, unnoticed until it is changed. A variable of the environment
/// overrides both.
void check_passwords(const Config& config, Findings& findings) {
  const auto check = [&](const std::string& section, const std::string& url,
                         const PasswordSource& password) {
    if (password.file.empty() || !has_password(url)) return;
    findings.add(findings.place(section + ".password_file"),
                 section + ".password_file: the URL holds a password, too; allowed: one of them");
  };
  check("postgres", config.postgres.url, config.postgres.password);
  check("redis", config.redis.url, config.redis.password);
  if (!config.redis.sentinel_password.file.empty() && has_sentinel_password(config.redis.url)) {
    const std::string key = "redis.sentinel_password_file";
    findings.add(findings.place(key),
                 key + ": the URL holds a sentinel_password, too; allowed: one of them");
  }
}

void check_postgres_url(const Config& config, Findings& findings) {
  if (!config.postgres.url.empty() || findings.place("postgres.url").line != 0) return;
  findings.add(findings.place("postgres"),
               "postgres.url: missing; give it here or in the environment variable DATABASE_URL, "
               "such as \"postgresql://saathiid@localhost/saathii\"");
}

/// Each badge asks for more talk time than the one below it.
void check_badges(const Config& config, Findings& findings) {
  const auto& tiers = config.platform.badges.tiers;
  const auto path = [](const Badge& badge) { return "badges." + badge.name + ".from"; };
  const auto text = [](const Badge& badge) { return "\"" + format_duration(badge.from) + "\""; };
  if (tiers[0].from != Duration{0}) {
    findings.add(findings.place(path(tiers[0])),
                 path(tiers[0]) + ": found " + text(tiers[0]) +
                     "; allowed: \"0s\", for who has no better badge has this one");
  }
  for (std::size_t i = 1; i < tiers.size(); ++i) {
    const auto& lower = tiers[i - 1];
    const auto& upper = tiers[i];
    if (upper.from > lower.from) continue;
    auto at = findings.place(path(upper));
    if (at.line == 0) at = findings.place(path(lower));
    findings.add(at, path(upper) + ": found " + text(upper) + "; allowed: more than " +
                         path(lower) + ", which is " + text(lower));
  }
}

std::optional<std::string> read_file(const std::filesystem::path& file, std::string& error) {
  std::error_code failure;
  const auto type = std::filesystem::status(file, failure).type();
  if (failure && type != std::filesystem::file_type::not_found) error = failure.message();
  if (type == std::filesystem::file_type::not_found) error = "there is no such file";
  if (type == std::filesystem::file_type::directory) error = "it is a folder";
  if (!error.empty()) return std::nullopt;
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  std::string text(largest_file_bytes + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad()) {
    error = std::generic_category().message(errno);
    return std::nullopt;
  }
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > largest_file_bytes) {
    error = "it is larger than 1 MiB";
    return std::nullopt;
  }
  return text;
}

}  // namespace

Environment process_environment() {
  return [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

Loaded parse(std::string_view toml, std::string_view name, const std::vector<KindInfo>& kinds,
             const Environment& environment) {
  Table root;
  if (auto problem = read_document(toml, name, root)) return {std::nullopt, {*std::move(problem)}};

  Findings findings(name);
  Config config;
  SectionReader reader(config, findings);
  reader.read(*find_section(""), root);
  check_passwords(config, findings);
  override_from(environment, config, findings);
  find_credentials(environment, config);
  check_postgres_url(config, findings);
  check_badges(config, findings);
  std::string error;
  const auto* zone = find_zone(config.platform.timezone, error);
  if (zone == nullptr) {
    findings.add(findings.place("timezone"), "timezone: " + error);
  } else {
    read_jobs(reader.jobs(), kinds, zone, config, findings);
  }
  check_alerts(config, findings);
  if (findings.none()) return {std::move(config), {}};
  return {std::nullopt, findings.take()};
}

Loaded load(const std::filesystem::path& file, const std::vector<KindInfo>& kinds,
            const Environment& environment) {
  std::string error;
  const auto text = read_file(file, error);
  if (!text) {
    return {std::nullopt,
            {{file.string(), 0, 0,
              "cannot read the configuration: " + error +
                  "; name another file with --config FILE, or begin with a copy of the commented "
                  "config/saathiid.toml"}}};
  }
  return parse(*text, file.string(), kinds, environment);
}

}  // namespace saathii::config
