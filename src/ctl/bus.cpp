#include "bus.hpp"

#include <poll.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <deque>
#include <map>

#include "saathii/control/sdbus.hpp"
#include "tasks1_proxy.hpp"
#include "text.hpp"

namespace saathii::ctl {

namespace {

constexpr const char* service = "com.saathiiapp.Tasks1";
constexpr const char* manager_path = "/com/saathiiapp/Tasks1";
constexpr const char* manager_interface = "com.saathiiapp.Tasks1.Manager";
constexpr const char* job_interface = "com.saathiiapp.Tasks1.Job";
constexpr const char* properties_interface = "org.freedesktop.DBus.Properties";
constexpr const char* objects_interface = "org.freedesktop.DBus.ObjectManager";
constexpr const char* bus_name = "org.freedesktop.DBus";
constexpr const char* bus_path = "/org/freedesktop/DBus";

/// An answer may have to be waited for: until the database gave it, or a person
/// a password.
constexpr std::chrono::seconds usual_patience{60};
constexpr std::chrono::seconds patience_with_people{300};
/// For what is only shown while something else is waited for, or completed.
constexpr std::chrono::seconds short_patience{2};

constexpr std::size_t most_events = 10'000;

/// Calls `body`; what sdbus-c++ throws becomes a Refusal.
template <typename Body>
auto translated(Body&& body) {
  try {
    return body();
  } catch (const sdbus::Error& error) {
    const std::string& name = error.getName();
    std::string text = clean(error.getMessage());
    if (text.empty()) {
      text = clean(name);
    }
    throw Refusal(kind_of_error(name), text);
  }
}

Moment moment_of(std::uint64_t microseconds) {
  if (microseconds == 0) {
    return std::nullopt;
  }
  // Beyond what an Instant holds nothing sensible is meant.
  return Instant{
      Duration{static_cast<std::int64_t>(std::min<std::uint64_t>(microseconds, INT64_MAX))}};
}

Instant instant_of(std::uint64_t microseconds) {
  return moment_of(microseconds).value_or(Instant{});
}

Duration duration_of(std::uint64_t microseconds) {
  return Duration{static_cast<std::int64_t>(std::min<std::uint64_t>(microseconds, INT64_MAX))};
}

std::uint64_t to_wire(const Moment& moment) {
  if (!moment || *moment <= Instant{}) {
    return 0;
  }
  return static_cast<std::uint64_t>(moment->time_since_epoch().count());
}

Counts counts_of(const std::map<std::string, std::int64_t>& counts) {
  Counts made;
  for (const auto& [name, number] : counts) {
    made.emplace_back(one_line(name), number);
  }
  return made;
}

/// A dictionary of properties. What is missing, or of another type, is empty: a
/// daemon of another version.
class Properties {
 public:
  using Map = std::map<std::string, sdbus::Variant>;
  explicit Properties(Map values) : values_(std::move(values)) {}

  template <typename Value>
  [[nodiscard]] Value get(const char* name) const {
    const auto found = values_.find(name);
    if (found == values_.end()) {
      return Value{};
    }
    try {
      return found->second.get<Value>();
    } catch (const sdbus::Error&) {
      return Value{};
    }
  }
  [[nodiscard]] std::string text(const char* name) const { return clean(get<std::string>(name)); }
  [[nodiscard]] Moment moment(const char* name) const {
    return moment_of(get<std::uint64_t>(name));
  }
  [[nodiscard]] Duration duration(const char* name) const {
    return duration_of(get<std::uint64_t>(name));
  }
  [[nodiscard]] bool has(const char* name) const { return values_.contains(name); }

 private:
  Map values_;
};

Job to_job(const Properties& from) {
  Job job;
  job.name = one_line(from.text("Name"));
  job.kind = from.text("Kind");
  job.schedule = from.text("Schedule");
  job.time_zone = from.text("TimeZone");
  job.state = from.text("State");
  job.paused = from.get<bool>("Paused");
  job.paused_by = from.text("PausedBy");
  job.paused_since = from.moment("PausedSince");
  job.next_run = from.moment("NextRun");
  job.run_id = from.text("RunId");
  job.run_scheduled_at = from.moment("RunScheduledAt");
  job.run_started_at = from.moment("RunStartedAt");
  job.run_attempt = from.get<std::uint32_t>("RunAttempt");
  job.last_run_id = from.text("LastRunId");
  job.last_outcome = from.text("LastOutcome");
  job.last_reason = from.text("LastReason");
  job.last_scheduled_at = from.moment("LastScheduledAt");
  job.last_started_at = from.moment("LastStartedAt");
  job.last_finished_at = from.moment("LastFinishedAt");
  job.last_attempts = from.get<std::uint32_t>("LastAttempts");
  job.last_counts = counts_of(from.get<std::map<std::string, std::int64_t>>("LastCounts"));
  job.last_success = from.moment("LastSuccess");
  job.timeout = from.duration("Timeout");
  job.success_deadline = from.moment("SuccessDeadline");
  return job;
}

Receipt to_receipt(const Properties& from) {
  Receipt receipt;
  receipt.call_id = from.get<std::int64_t>("call_id");
  receipt.user_id = from.get<std::int64_t>("user_id");
  receipt.listener_id = from.get<std::int64_t>("listener_id");
  receipt.call_type = from.text("call_type");
  receipt.status = from.text("status");
  receipt.start_time = from.moment("start_time");
  receipt.end_time = from.moment("end_time");
  receipt.coins_spent = from.get<std::int64_t>("coins_spent");
  if (from.has("settlement_reason")) {
    receipt.settlement = {.reason = from.text("settlement_reason"),
                          .end_time = from.moment("settlement_end_time"),
                          .minutes = from.get<std::int32_t>("settlement_minutes"),
                          .coins = from.get<std::int64_t>("settlement_coins"),
                          .earned = from.text("settlement_earned"),
                          .settled_at = from.moment("settled_at")};
  }
  return receipt;
}

volatile std::sig_atomic_t interrupted = 0;

/// While it lives, SIGINT and SIGTERM only set `interrupted`, and arrive only
/// inside of wait_for().
class Interrupts {
 public:
  Interrupts() {
    sigset_t wanted;
    ::sigemptyset(&wanted);
    for (const int signal : signals) {
      ::sigaddset(&wanted, signal);
    }
    ::sigprocmask(SIG_BLOCK, &wanted, &before_);
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    for (std::size_t at = 0; at < signals.size(); ++at) {
      ::sigaction(signals[at], &action, &actions_[at]);
    }
  }
  ~Interrupts() {
    for (std::size_t at = 0; at < signals.size(); ++at) {
      ::sigaction(signals[at], &actions_[at], nullptr);
    }
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  void wait_for(const control::PollState& state, std::chrono::nanoseconds most) const {
    pollfd look{state.fd, static_cast<short>(POLLIN | (state.write ? POLLOUT : 0)), 0};
    const auto whole = std::chrono::floor<std::chrono::seconds>(most);
    const timespec limit{whole.count(), (most - whole).count()};
    ::ppoll(&look, 1, &limit, &before_);
  }

 private:
  static constexpr std::array signals = {SIGINT, SIGTERM};
  sigset_t before_{};
  std::array<struct sigaction, signals.size()> actions_{};
};

/// The Manager. Its signals are heard from watch() on.
class ManagerProxy final : public sdbus::ProxyInterfaces<com::saathiiapp::Tasks1::Manager_proxy> {
 public:
  ManagerProxy(sdbus::IConnection& connection, const std::string& owner)
      : ProxyInterfaces(connection, control::ServiceName{owner}, sdbus::ObjectPath{manager_path}) {}
  virtual ~ManagerProxy() {
    if (watching_) {
      unregisterProxy();
    }
  }
  ManagerProxy(const ManagerProxy&) = delete;
  ManagerProxy& operator=(const ManagerProxy&) = delete;

  void watch() {
    registerProxy();
    watching_ = true;
  }
  std::deque<Event> events;

 private:
  void onRunStarted(const std::string& /*name*/, const std::string& /*run_id*/,
                    const std::uint64_t& /*scheduled_at*/) override {}
  void onRunFinished(const std::string& name, const std::string& run_id, const std::string& outcome,
                     const std::string& reason, const std::map<std::string, std::int64_t>& counts,
                     const std::uint64_t& busy) override {
    if (events.size() >= most_events) {
      events.pop_front();
    }
    events.push_back({Event::What::finished,
                      {one_line(name), one_line(run_id), one_line(outcome), clean(reason),
                       counts_of(counts), duration_of(busy)}});
  }
  void onHealthChanged(
      const std::string& /*level*/,
      const std::vector<sdbus::Struct<std::string, std::string, std::string>>& /*findings*/)
      override {}

  bool watching_ = false;
};

class BusDaemon final : public Daemon {
 private:
  /// A call to the daemon, which by its unique name can also have gone.
  template <typename Body>
  auto ask(Body&& body) {
    try {
      return translated(body);
    } catch (const Refusal& refusal) {
      if (refusal.kind() == Refusal::Kind::not_running || refusal.kind() == Refusal::Kind::no_bus ||
          (refusal.kind() == Refusal::Kind::no_answer && is_gone())) {
        throw Refusal(Refusal::Kind::gone, refusal.what());
      }
      throw;
    }
  }

  /// The bus answers a call of whose receiver it loses sight as it does one that
  /// takes too long.
  bool is_gone() {
    bool there = true;
    try {
      bus_->callMethod("NameHasOwner")
          .onInterface(std::string{bus_name})
          .withArguments(owner_)
          .storeResultsTo(there);
    } catch (const sdbus::Error&) {
      return true;
    }
    return !there;
  }

  Properties::Map properties_of(const std::string& path, const std::string& interface) {
    Properties::Map values;
    control::make_proxy(*connection_, owner_, path)
        ->callMethod("GetAll")
        .onInterface(std::string{properties_interface})
        .withArguments(interface)
        .storeResultsTo(values);
    return values;
  }

 public:
  BusDaemon(const std::string& where, Asking asking, Patience patience) {
    try {
      connection_ = control::open_bus(where);
    } catch (const sdbus::Error& error) {
      throw Refusal(Refusal::Kind::no_bus, clean(error.getMessage()));
    }
    connection_->setMethodCallTimeout(patience == Patience::short_one ? short_patience
                                      : asking == Asking::yes         ? patience_with_people
                                                                      : usual_patience);
    translated([&] {
      bus_ = control::make_proxy(*connection_, bus_name, bus_path);
      // From here on it is this daemon that is asked, and no other that may take
      // its place: what is heard belongs to what was asked.
      bus_->callMethod("GetNameOwner")
          .onInterface(std::string{bus_name})
          .withArguments(std::string{service})
          .storeResultsTo(owner_);
      manager_ = std::make_unique<ManagerProxy>(*connection_, owner_);
      if (asking == Asking::yes) {
        control::allow_passwords(*bus_);
      }
    });
  }

  Manager manager() override {
    return ask([&] {
      const Properties from{properties_of(manager_path, manager_interface)};
      Manager made;
      made.version = from.text("Version");
      made.started_at = from.moment("StartedAt");
      made.config_file = from.text("ConfigFile");
      made.time_zone = from.text("TimeZone");
      made.log_level = from.text("LogLevel");
      made.outcomes_waiting = from.get<std::uint64_t>("OutcomesWaiting");
      using Servers =
          std::vector<sdbus::Struct<std::string, std::string, std::uint64_t, std::string>>;
      for (const auto& server : from.get<Servers>("Servers")) {
        made.servers.push_back({clean(server.get<0>()), clean(server.get<1>()),
                                moment_of(server.get<2>()), clean(server.get<3>())});
      }
      using Leads = sdbus::Struct<bool, std::string, std::uint64_t, std::string, std::uint64_t>;
      const auto leads = from.get<Leads>("Leadership");
      made.leadership = {leads.get<0>(), clean(leads.get<1>()), leads.get<2>(),
                         clean(leads.get<3>()), moment_of(leads.get<4>())};
      return made;
    });
  }

  Health health() override {
    return ask([&] {
      const auto [level, findings] = manager_->Health();
      Health made{one_line(level), {}};
      for (const auto& finding : findings) {
        made.findings.push_back(
            {clean(finding.get<0>()), clean(finding.get<1>()), clean(finding.get<2>())});
      }
      return made;
    });
  }

  std::vector<std::string> job_names() override {
    return ask([&] {
      std::vector<std::string> names;
      for (const auto& job : manager_->ListJobs()) {
        names.push_back(one_line(job.get<0>()));
      }
      return names;
    });
  }

  std::vector<Job> jobs() override {
    return ask([&] {
      const auto listed = manager_->ListJobs();
      using Interfaces = std::map<std::string, Properties::Map>;
      std::map<sdbus::ObjectPath, Interfaces> objects;
      control::make_proxy(*connection_, owner_, manager_path)
          ->callMethod("GetManagedObjects")
          .onInterface(std::string{objects_interface})
          .storeResultsTo(objects);
      std::vector<Job> made;
      for (const auto& job : listed) {
        // One that a reload has removed in between is none any more.
        if (const auto found = objects.find(job.get<1>()); found != objects.end()) {
          made.push_back(to_job(Properties{found->second[job_interface]}));
        }
      }
      return made;
    });
  }

  Job job(const std::string& name) override {
    return ask(
        [&] { return to_job(Properties{properties_of(manager_->GetJob(name), job_interface)}); });
  }

  std::vector<Run> history(const std::string& job, const Moment& since, const Moment& until,
                           const std::string& outcome, std::uint32_t limit) override {
    return ask([&] {
      std::vector<Run> runs;
      for (const auto& run :
           manager_->History(job, to_wire(since), to_wire(until), outcome, limit)) {
        runs.push_back({one_line(run.get<0>()), one_line(run.get<1>()), instant_of(run.get<2>()),
                        instant_of(run.get<3>()), run.get<4>(), one_line(run.get<5>()),
                        clean(run.get<6>()), moment_of(run.get<7>()), moment_of(run.get<8>()),
                        run.get<9>(), counts_of(run.get<10>())});
      }
      return runs;
    });
  }

  Calendar calendar(const std::string& job, std::uint32_t count) override {
    return ask([&] {
      const auto [ticks, zone] = manager_->Calendar(job, count);
      Calendar made{job, one_line(zone), {}};
      for (const std::uint64_t tick : ticks) {
        made.ticks.push_back(instant_of(tick));
      }
      return made;
    });
  }

  Receipt receipt(std::uint64_t call_id) override {
    return ask([&] {
      const auto [call, minutes] = manager_->CallReceipt(call_id);
      Receipt made = to_receipt(Properties{{call.begin(), call.end()}});
      for (const auto& minute : minutes) {
        const bool known = minute.get<5>();
        made.minutes.push_back({minute.get<0>(), instant_of(minute.get<1>()), minute.get<2>(),
                                one_line(minute.get<3>()), moment_of(minute.get<4>()),
                                known ? std::optional{minute.get<6>()} : std::nullopt,
                                known ? std::optional{minute.get<7>()} : std::nullopt,
                                moment_of(minute.get<8>())});
      }
      return made;
    });
  }

  Wallet wallet(std::uint64_t user_id, std::uint32_t limit) override {
    return ask([&] {
      const auto [balance, money, calls, entries] = manager_->Wallet(user_id, limit);
      Wallet made{user_id, balance, one_line(money), calls, {}};
      for (const auto& entry : entries) {
        made.entries.push_back({moment_of(entry.get<0>()), one_line(entry.get<1>()), entry.get<2>(),
                                one_line(entry.get<3>())});
      }
      return made;
    });
  }

  std::string run(const std::string& job, const Moment& at) override {
    return ask([&] { return one_line(manager_->Run(job, to_wire(at))); });
  }

  void pause(const std::string& job) override {
    ask([&] { manager_->Pause(job); });
  }

  void resume(const std::string& job) override {
    ask([&] { manager_->Resume(job); });
  }

  Reloaded reload() override {
    return ask([&] {
      const auto [applied, needs_restart, unchanged] = manager_->Reload();
      Reloaded made{{}, {}, unchanged};
      for (const std::string& key : applied) {
        made.applied.push_back(one_line(key));
      }
      for (const std::string& key : needs_restart) {
        made.needs_restart.push_back(one_line(key));
      }
      return made;
    });
  }

  void set_log_level(const std::string& level) override {
    ask([&] { manager_->SetLogLevel(level); });
  }

  void watch() override {
    ask([&] {
      manager_->watch();
      bus_->uponSignal("NameOwnerChanged")
          .onInterface(std::string{bus_name})
          .call([this](const std::string& name, const std::string& /*before*/,
                       const std::string& after) {
            if (name == owner_ && after.empty()) {
              manager_->events.push_back({Event::What::gone, {}});
            }
          });
#if !SAATHII_SDBUS_2
      bus_->finishRegistration();
#endif
    });
  }

  Event next_event(std::chrono::milliseconds most) override {
    if (!interrupts_) {
      interrupts_ = std::make_unique<Interrupts>();
      connection_->setMethodCallTimeout(short_patience);
    }
    const auto until = std::chrono::steady_clock::now() + most;
    for (;;) {
      if (!manager_->events.empty()) {
        Event event = manager_->events.front();
        manager_->events.pop_front();
        return event;
      }
      if (interrupted != 0) {
        return {Event::What::interrupted, {}};
      }
      try {
        if (control::process_one(*connection_)) {
          continue;
        }
      } catch (const sdbus::Error&) {
        return {Event::What::gone, {}};
      }
      const auto now = std::chrono::steady_clock::now();
      if (now >= until) {
        return {};
      }
      const control::PollState state = control::poll_state(*connection_);
      const auto next = state.deadline ? std::min(*state.deadline, until) : until;
      interrupts_->wait_for(state, std::max(next - now, std::chrono::steady_clock::duration{0}));
    }
  }

 private:
  std::unique_ptr<sdbus::IConnection> connection_;
  std::unique_ptr<sdbus::IProxy> bus_;
  std::string owner_;
  std::unique_ptr<ManagerProxy> manager_;
  std::unique_ptr<Interrupts> interrupts_;
};

}  // namespace

std::unique_ptr<Daemon> connect_to_bus(const std::string& where, Asking asking, Patience patience) {
  return std::make_unique<BusDaemon>(where, asking, patience);
}

}  // namespace saathii::ctl
