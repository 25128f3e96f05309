#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "polkit_adaptor.hpp"
#include "runner/support.hpp"
#include "saathii/control/face.hpp"
#include "saathii/control/sdbus.hpp"
#include "support/private_bus.hpp"
#include "tasks1_proxy.hpp"

// A daemon of fake jobs on a private bus, and who talks to it there.

namespace saathii::control::test {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using runner::test::FakeWork;
using runner::test::minutely;
using runner::test::noon;
using runner::test::patience;
using runner::test::Watched;
using saathii::test::PrivateBus;

inline const std::string error_prefix = "com.saathiiapp.Tasks1.Error.";
inline constexpr const char* daemon_name = "com.saathiiapp.Tasks1";
inline constexpr const char* polkit_name = "org.freedesktop.PolicyKit1";

/// A connection whose messages a thread of its own handles until it is lost.
class Served {
 public:
  explicit Served(const std::string& address)
      : connection(sdbus::createSessionBusConnectionWithAddress(address)) {}
  ~Served() { stop(); }
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;

  void serve() {
    thread_ = std::thread([this] {
      try {
        connection->enterEventLoop();
      } catch (const sdbus::Error&) {
        // The bus died.
      }
    });
  }
  void stop() {
    if (thread_.joinable()) {
      connection->leaveEventLoop();
      thread_.join();
    }
  }

  std::unique_ptr<sdbus::IConnection> connection;

 private:
  std::thread thread_;
};

/// Hears every signal of the daemon, in the order in which they come, as lines:
/// "RunStarted charge RUN_ID", "changed charge State Paused", "added charge".
class Ear {
 public:
  explicit Ear(const std::string& address) : bus_(address) {
    const auto hear = [this](auto&& message) { on_signal(message); };
    const std::string rule = "type='signal',path_namespace='/com/saathiiapp/Tasks1'";
    const std::string owners =
        std::string{"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'"};
#if SAATHII_SDBUS_2
    bus_.connection->addMatch(rule, hear);
    bus_.connection->addMatch(owners, hear);
#else
    bus_.connection->addMatch(rule, hear, sdbus::floating_slot);
    bus_.connection->addMatch(owners, hear, sdbus::floating_slot);
#endif
    bool there = false;
    make_proxy(*bus_.connection, "org.freedesktop.DBus", "/org/freedesktop/DBus")
        ->callMethod("NameHasOwner")
        .onInterface("org.freedesktop.DBus")
        .withArguments(std::string(daemon_name))
        .storeResultsTo(there);
    if (there) {
      heard_.change([](auto& lines) { lines.push_back("owner daemon"); });
    }
    // ThreadSanitizer does not see how the library makes what it keeps for texts
    // like those of variants, once, whichever thread comes first: not that of signals.
    static_cast<void>(sdbus::Variant{true});
    bus_.serve();
  }
  ~Ear() { bus_.stop(); }

  [[nodiscard]] bool wait_for(const std::string& line) const {
    return wait_until([&](const std::vector<std::string>& lines) {
      return std::find(lines.begin(), lines.end(), line) != lines.end();
    });
  }
  template <typename Condition>
  [[nodiscard]] bool wait_until(Condition&& holds) const {
    return heard_.wait(holds);
  }
  /// Until the daemon has its name.
  [[nodiscard]] bool wait_for_daemon() const { return wait_for("owner daemon"); }
  [[nodiscard]] std::vector<std::string> lines() const { return heard_.get(); }
  void forget() {
    heard_.change([](auto& lines) { lines.clear(); });
  }

 private:
  static std::string last_part(const std::string& path) { return path.substr(path.rfind('/') + 1); }

  void on_signal(sdbus::Message& message) {
    const std::string member = message.getMemberName();
    const std::string interface = message.getInterfaceName();
    std::string line = member;
    if (interface == "com.saathiiapp.Tasks1.Manager") {
      line += manager_signal(member, message);
    } else if (member == "PropertiesChanged") {
      std::string of;
      std::map<std::string, sdbus::Variant> changed;
      message >> of >> changed;
      line = "changed " + last_part(message.getPath());
      for (const auto& [name, value] : changed) {
        line += " " + name;
      }
    } else if (member == "InterfacesAdded" || member == "InterfacesRemoved") {
      sdbus::ObjectPath object;
      message >> object;
      line = (member == "InterfacesAdded" ? "added " : "removed ") + last_part(object);
    } else if (member == "NameOwnerChanged") {
      std::string name, before, after;
      message >> name >> before >> after;
      line = (after.empty() ? "gone " : "owner ") + (name == daemon_name ? "daemon" : name);
    }
    heard_.change([&](auto& lines) { lines.push_back(line); });
  }

  static std::string manager_signal(const std::string& member, sdbus::Message& message) {
    std::string job, run_id, outcome, reason;
    if (member == "HealthChanged") {
      message >> outcome;
      return " " + outcome;
    }
    message >> job >> run_id;
    if (member == "RunStarted") {
      return " " + job + " " + run_id;
    }
    std::map<std::string, std::int64_t> counts;
    message >> outcome >> reason >> counts;
    std::string text = " " + job + " " + run_id + " " + outcome + " \"" + reason + "\"";
    for (const auto& [name, count] : counts) {
      text += " " + name + "=" + std::to_string(count);
    }
    return text;
  }

  Served bus_;
  mutable Watched<std::vector<std::string>> heard_;
};

/// Calls the daemon and waits for its answer.
class Manager final : public sdbus::ProxyInterfaces<com::saathiiapp::Tasks1::Manager_proxy> {
 public:
  explicit Manager(sdbus::IConnection& connection)
      : ProxyInterfaces(connection, ServiceName{daemon_name},
                        sdbus::ObjectPath{"/com/saathiiapp/Tasks1"}) {}
  virtual ~Manager() = default;

 private:
  void onRunStarted(const std::string&, const std::string&, const std::uint64_t&) override {}
  void onRunFinished(const std::string&, const std::string&, const std::string&, const std::string&,
                     const std::map<std::string, std::int64_t>&, const std::uint64_t&) override {}
  void onHealthChanged(
      const std::string&,
      const std::vector<sdbus::Struct<std::string, std::string, std::string>>&) override {}
};

class Job final : public sdbus::ProxyInterfaces<com::saathiiapp::Tasks1::Job_proxy> {
 public:
  Job(sdbus::IConnection& connection, const std::string& name)
      : ProxyInterfaces(connection, ServiceName{daemon_name},
                        sdbus::ObjectPath{"/com/saathiiapp/Tasks1/job/" + name}) {}
};

struct Client {
  explicit Client(const std::string& address)
      : connection(sdbus::createSessionBusConnectionWithAddress(address)), manager(*connection) {}
  [[nodiscard]] Job job(const std::string& name) const { return {*connection, name}; }

  std::unique_ptr<sdbus::IConnection> connection;
  Manager manager;
};

/// The name of the error that the call ends with, without our prefix, and its
/// text; empty if it succeeds.
struct BusError {
  std::string name, message;
};
template <typename Call>
BusError error_of(Call&& call) {
  try {
    call();
  } catch (const sdbus::Error& error) {
    const std::string name = error.getName();
    return {name.starts_with(error_prefix) ? name.substr(error_prefix.size()) : name,
            error.getMessage()};
  }
  return {};
}

/// The daemon: fake jobs, a clock that the test moves, and the face on `bus`.
class Daemon : public runner::test::Harness {
 public:
  explicit Daemon(const std::string& bus) {
    control.bus = bus;
    control.retry = 1ms;
    control.retry_cap = 10ms;
    control.name_retry = 1ms;
    control.bus_timeout = 1h;
    control.polkit_timeout = 1h;
    control.password_timeout = 1h;
    before_run = [this](runner::Runner& made) { add_face(made); };
  }
  ~Daemon() {
    stop();
    face.reset();
  }

  /// Started, and on the bus by its name.
  void start_on(const Ear& ear) {
    start();
    REQUIRE(ear.wait_for_daemon());
  }

  Options control;
  Inquiries inquiries{
      .history = [](const auto&, const auto&) { return std::vector<runner::Record>{}; },
      .receipt = [](auto, const auto&) { return std::optional<postgres::Receipt>{}; },
      .wallet = [](auto, auto, const auto&) { return std::optional<postgres::Wallet>{}; }};
  std::function<config::Reloaded()> reload = [] { return config::Reloaded{}; };
  std::function<void()> save_pauses = [] {};
  std::string log_level = "info";
  ServerState postgres{"postgres"};
  std::unique_ptr<health::Monitor> health;
  std::unique_ptr<Face> face;

 private:
  void add_face(runner::Runner& made) {
    health = std::make_unique<health::Monitor>(made, std::vector<const ServerState*>{&postgres},
                                               made.add_side_worker(1));
    made.add_observer(*health);
    postgres.on_change([this, &made] {
      made.server_changed(postgres.snapshot().state == ServerState::State::up);
    });
    Desk desk{.runner = made,
              .health = *health,
              .dialler = made.add_side_worker(1),
              .worker = made.add_side_worker(32),
              .inquiries = inquiries,
              .reload = [this]() -> asio::awaitable<config::Reloaded> { co_return reload(); },
              .set_log_level =
                  [this](log::Level level) {
                    log_level = level == log::Level::debug ? "debug" : "another";
                  },
              .save_pauses = [this]() -> asio::awaitable<void> {
                save_pauses();
                co_return;
              },
              .log_level = [this] { return log_level; },
              .time_zone = [] { return std::string("Asia/Kolkata"); },
              .version = "1.2.3",
              .config_file = "/etc/saathii/saathiid.toml",
              .started_at = noon};
    face = std::make_unique<Face>(std::move(desk), control);
    made.add_observer(*face);
  }
};

/// Stands in for polkit on the private bus; answers as it is told to.
class FakePolkit final
    : public sdbus::AdaptorInterfaces<org::freedesktop::PolicyKit1::Authority_adaptor> {
 public:
  using Result = sdbus::Struct<bool, bool, std::map<std::string, std::string>>;
  enum class Says { yes, no, password, nothing };
  struct Question {
    std::string subject, action, cancellation;
    std::uint32_t flags = 0;
  };
  struct State {
    Says says = Says::yes;
    std::vector<Question> questions;
    std::vector<std::string> cancelled;
  };

  explicit FakePolkit(Served& bus)
      : AdaptorInterfaces(*bus.connection,
                          sdbus::ObjectPath{"/org/freedesktop/PolicyKit1/Authority"}) {
    registerAdaptor();
    bus.connection->requestName(ServiceName{polkit_name});
  }
  virtual ~FakePolkit() { unregisterAdaptor(); }

  void say(Says says) {
    state.change([&](State& s) { s.says = says; });
  }
  [[nodiscard]] bool wait_for_questions(std::size_t count) {
    return state.wait([&](const State& s) { return s.questions.size() >= count; });
  }
  /// Allows what it had nothing to say to.
  void allow_unanswered() {
    std::vector<sdbus::Result<Result>> waiting;
    {
      const std::scoped_lock lock(mutex_);
      waiting.swap(unanswered_);
    }
    for (const auto& result : waiting) {
      result.returnResults(Result{true, false, {}});
    }
  }

  Watched<State> state;

 private:
  using Subject = sdbus::Struct<std::string, std::map<std::string, sdbus::Variant>>;

  void CheckAuthorization(sdbus::Result<Result>&& result, Subject subject, std::string action_id,
                          std::map<std::string, std::string> details, std::uint32_t flags,
                          std::string cancellation_id) override {
    Says says = Says::nothing;
    const std::scoped_lock lock(mutex_);  // who sees the question finds what is not answered
    state.change([&](State& s) {
      says = s.says;
      s.questions.push_back(
          {std::get<0>(subject) + " " + std::get<1>(subject).at("name").get<std::string>(),
           action_id, cancellation_id, flags});
    });
    if (says == Says::nothing) {
      unanswered_.push_back(std::move(result));
    } else {
      result.returnResults(Result{says == Says::yes, says == Says::password, details});
    }
  }
  void CancelCheckAuthorization(const std::string& cancellation_id) override {
    state.change([&](State& s) { s.cancelled.push_back(cancellation_id); });
  }

  std::mutex mutex_;
  std::vector<sdbus::Result<Result>> unanswered_;
};

/// The stand-in and the thread that serves it.
struct Polkit {
  explicit Polkit(const std::string& address) : bus(address), fake(bus) { bus.serve(); }
  ~Polkit() { bus.stop(); }
  Served bus;
  FakePolkit fake;
};

}  // namespace saathii::control::test
