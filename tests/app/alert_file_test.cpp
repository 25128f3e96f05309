#include "app/alert_file.hpp"

#include <boost/asio/io_context.hpp>
#include <filesystem>
#include <fstream>

#include "base/capture_stderr.hpp"
#include "catch.hpp"
#include "support/temp_folder.hpp"

namespace saathii::app {

namespace {

using alert::Told;
using All = std::vector<Told>;

const Instant since = *parse_iso8601("2026-11-22T12:00:00.25Z");
const All both = {{"charge", alert::Kind::stuck, "charge.stuck.1", since},
                  {"disk /var", alert::Kind::unhealthy, "disk__var.unhealthy.2", since}};

/// What a keeper runs on.
struct Bench {
  test::TempFolder folder;
  std::filesystem::path path = folder.path() / "alerts.json";
  boost::asio::io_context loop;
  runner::SideWorker worker{1};
  AlertKeeper keeper{loop.get_executor(), worker, AlertFile(StateFile(path))};

  void run() {
    loop.restart();
    loop.run();
  }
  [[nodiscard]] All saved() const { return AlertFile(StateFile(path)).load(); }
};

TEST_CASE("alerts that were told are there again after a restart") {
  const test::TempFolder folder;
  const AlertFile file(StateFile(folder.path() / "alerts.json"));
  CHECK(file.load().empty());
  file.save(both);
  CHECK(file.load() == both);
  file.save({});
  CHECK(file.load().empty());
  CHECK_FALSE(std::filesystem::exists(folder.path() / "alerts.json.new"));
}

TEST_CASE("a file of alerts that makes no sense is told of, and alerts start anew") {
  const test::TempFolder folder;
  const auto path = folder.path() / "alerts.json";
  const std::string good = R"("subject": "a", "id": "a.1", "since": "2026-11-22T12:00:00Z")";
  const std::vector<std::string> texts = {
      "",
      "nonsense",
      "{}",
      "[1]",
      "[{" + good + "}]",
      "[{" + good + R"(, "kind": "tired"}])",
      R"([{"subject": "a", "id": "a.1", "since": "soon", "kind": "failed"}])"};
  for (const std::string& text : texts) {
    INFO(text);
    std::ofstream(path) << text;
    const CaptureStderr log;
    CHECK(AlertFile(StateFile(path)).load().empty());
    CHECK_THAT(log.text(), Catch::Matchers::ContainsSubstring("alerts.json cannot be read"));
  }
  std::filesystem::remove(path);
  std::filesystem::create_directory(path);
  CHECK(AlertFile(StateFile(path)).load().empty());
}

TEST_CASE("the loop's alerts are saved by the worker, the latest in the end") {
  Bench bench;
  CHECK(bench.keeper.load().empty());
  bench.keeper.keep({});
  CHECK_FALSE(std::filesystem::exists(bench.path));  // no news
  bench.keeper.keep({both[0]});
  bench.keeper.keep(both);
  CHECK_FALSE(std::filesystem::exists(bench.path));  // not by the loop
  bench.run();
  CHECK(bench.saved() == both);
  bench.keeper.keep({});
  bench.keeper.loop_has_ended();
  bench.run();
  CHECK(bench.saved().empty());
  bench.keeper.keep(both);
  CHECK(bench.saved() == both);
}

TEST_CASE("alerts that cannot be saved are told of, and saved with the next call") {
  Bench bench;
  std::filesystem::create_directory(bench.path);  // nothing can take its place
  {
    const CaptureStderr log;
    bench.keeper.keep(both);
    bench.run();
    CHECK_THAT(log.text(), Catch::Matchers::ContainsSubstring("nobody may hear of the end"));
  }
  std::filesystem::remove(bench.path);
  bench.keeper.keep(both);
  bench.run();
  CHECK(bench.saved() == both);
}

}  // namespace

}  // namespace saathii::app
