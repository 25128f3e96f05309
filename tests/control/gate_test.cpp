#include "support.hpp"

// Who may do what: polkit is asked of everybody whom nobody trusts.

namespace saathii::control::test {

namespace {

using Catch::Matchers::Contains;
using Says = FakePolkit::Says;

/// A daemon that trusts nobody, and a polkit.
struct Setup {
  explicit Setup(std::optional<std::vector<uid_t>> trusted = std::vector<uid_t>{}) {
    daemon.control.trusted = std::move(trusted);
    daemon.add(minutely("charge"));
  }
  void start() {
    daemon.start_on(ear);
    client = std::make_unique<Client>(bus.address());
  }
  Manager& manager() { return client->manager; }
  std::string me() const { return client->connection->getUniqueName(); }

  PrivateBus bus;
  Ear ear{bus.start().address()};
  Daemon daemon{bus.address()};
  std::unique_ptr<Client> client;
};

/// A call of Run that waits on a thread of its own.
class Waiting {
 public:
  explicit Waiting(const std::string& address)
      : thread_([this, address] {
          Client client(address);
          const BusError error = error_of([&] { client.manager.Run("charge", 0); });
          ended_.change([&](std::optional<BusError>& ended) { ended = error; });
        }) {}
  ~Waiting() { thread_.join(); }
  /// How it ended.
  BusError error() {
    REQUIRE(ended_.wait([](const auto& ended) { return ended.has_value(); }));
    return *ended_.get();
  }

 private:
  Watched<std::optional<BusError>> ended_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("each verb is asked of polkit by its action, and reading is free") {
  Setup setup;
  Polkit polkit(setup.bus.address());
  setup.start();
  setup.manager().Run("charge", 0);
  setup.manager().Pause("charge");
  setup.client->job("charge").Resume();
  setup.manager().Reload();
  setup.manager().SetLogLevel("debug");
  CHECK(error_of([&] { setup.manager().CallReceipt(1); }).name == "NotFound");
  CHECK(error_of([&] { setup.manager().Wallet(1, 1); }).name == "NotFound");
  std::vector<std::string> actions;
  for (const auto& question : polkit.fake.state.get().questions) {
    CHECK(question.subject == "system-bus-name " + setup.me());
    CHECK(question.flags == 0);
    actions.push_back(question.action);
  }
  const std::string prefix = "com.saathiiapp.tasks1.";
  CHECK(actions == std::vector<std::string>{prefix + "run", prefix + "pause", prefix + "pause",
                                            prefix + "reload", prefix + "reload",
                                            prefix + "inspect", prefix + "inspect"});
  polkit.fake.say(Says::no);
  setup.manager().ListJobs();
  setup.manager().GetJob("charge");
  setup.manager().Health();
  setup.manager().History("", 0, "", 1);
  setup.manager().Calendar("charge", 1);
  setup.manager().HealthLevel();
  setup.client->job("charge").State();
  CHECK(polkit.fake.state.get().questions.size() == actions.size());
}

TEST_CASE("what polkit does not allow is not done") {
  Setup setup;
  Watched<int> reloads;
  setup.daemon.reload = [&] {
    reloads.change([](int& count) { ++count; });
    return config::Reloaded{};
  };
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::no);
  const BusError no = error_of([&] { setup.manager().Reload(); });
  CHECK(no.name == "NotAuthorized");
  CHECK_THAT(no.message, Contains("com.saathiiapp.tasks1.reload is not allowed"));
  polkit.fake.say(Says::password);
  const BusError password = error_of([&] { setup.manager().Reload(); });
  CHECK(password.name == "NotAuthorized");
  CHECK_THAT(password.message, Contains("password"));
  CHECK(reloads.get() == 0);
  CHECK(error_of([&] { setup.manager().Pause("charge"); }).name == "NotAuthorized");
  CHECK_FALSE(setup.client->job("charge").Paused());
}

TEST_CASE("root and the daemon's own user are allowed without polkit") {
  Setup setup{std::nullopt};
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::no);
  setup.manager().Pause("charge");
  CHECK(setup.client->job("charge").PausedBy() ==
        (::geteuid() == 0 ? "root" : "uid " + std::to_string(::geteuid())));
  CHECK(polkit.fake.state.get().questions.empty());
}

TEST_CASE("without polkit only the trusted may, and are told so") {
  Setup setup;
  setup.start();
  const BusError error = error_of([&] { setup.manager().Run("charge", 0); });
  CHECK(error.name == "NotAuthorized");
  CHECK_THAT(error.message, Contains("there is no polkit to ask"));
  CHECK(setup.daemon.works.at("charge").calls().empty());
}

TEST_CASE("a polkit that does not answer holds up nobody else, and not for ever") {
  Setup setup;
  setup.daemon.control.polkit_timeout = 200ms;
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::nothing);
  Waiting waiting(setup.bus.address());
  REQUIRE(polkit.fake.wait_for_questions(1));
  setup.manager().ListJobs();
  const BusError error = waiting.error();
  CHECK(error.name == "NotAuthorized");
  CHECK_THAT(error.message, Contains("did not answer in time"));
  CHECK(polkit.fake.state.wait([](const FakePolkit::State& state) {
    return state.cancelled.size() == 1 && state.cancelled[0] == state.questions.at(0).cancellation;
  }));
}

TEST_CASE("a caller that allows a person to be asked for a password is waited for") {
  Setup setup;
  setup.daemon.control.polkit_timeout = 1ms;
  Polkit polkit(setup.bus.address());
  setup.start();
  // By busctl, because sdbus-c++ cannot set the flag.
  const std::string call = "busctl --address=" + setup.bus.address() +
                           " --allow-interactive-authorization=yes call com.saathiiapp.Tasks1"
                           " /com/saathiiapp/Tasks1 com.saathiiapp.Tasks1.Manager Pause s charge";
  CHECK(std::system(call.c_str()) == 0);
  const auto questions = polkit.fake.state.get().questions;
  REQUIRE(questions.size() == 1);
  CHECK(questions[0].flags == 1);
}

TEST_CASE("one caller's open calls are bounded, and all callers' too") {
  Setup setup;
  setup.daemon.control.max_open_calls = 2;
  setup.daemon.control.max_open_calls_each = 1;
  Polkit polkit(setup.bus.address());
  setup.start();
  polkit.fake.say(Says::nothing);
  {
    Waiting first(setup.bus.address());
    REQUIRE(polkit.fake.wait_for_questions(1));
    Waiting second(setup.bus.address());
    REQUIRE(polkit.fake.wait_for_questions(2));
    const BusError third = error_of([&] { setup.manager().Run("charge", 0); });
    CHECK(third.name == "Overloaded");
    CHECK(setup.manager().ListJobs().size() == 1);
    // Who waits at the end is told.
    setup.daemon.stop();
    CHECK(first.error().name == "ShuttingDown");
    CHECK(second.error().name == "ShuttingDown");
  }
}

}  // namespace saathii::control::test
