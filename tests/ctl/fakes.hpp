#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "ctl/console.hpp"
#include "ctl/daemon.hpp"
#include "sample.hpp"

namespace saathii::test {

/// Answers with the samples, notes what it was asked, and refuses on demand.
class FakeDaemon final : public ctl::Daemon {
 public:
  explicit FakeDaemon(std::vector<std::string>& asked) : asked_(asked) {}

  ctl::Overview overview = ill();
  std::vector<ctl::Run> runs = outcomes();
  std::deque<ctl::Event> events;
  /// Refuses the call of this name.
  std::string refuses;
  ctl::Refusal refusal{ctl::Refusal::Kind::failed, "it is refused"};

  ctl::Manager manager() override {
    note("manager");
    return overview.manager;
  }
  ctl::Health health() override {
    note("health");
    return overview.health;
  }
  std::vector<ctl::Job> jobs() override {
    note("jobs");
    return overview.jobs;
  }
  ctl::Job job(const std::string& name) override {
    note("job " + name);
    for (const auto& job : overview.jobs) {
      if (job.name == name) return job;
    }
    throw ctl::Refusal(ctl::Refusal::Kind::unknown_job, "there is no job \"" + name + "\"");
  }
  std::vector<std::string> job_names() override {
    note("job_names");
    std::vector<std::string> names;
    for (const auto& job : overview.jobs) names.push_back(job.name);
    return names;
  }
  std::vector<ctl::Run> history(const std::string& job, const ctl::Moment& since,
                                const ctl::Moment& until, const std::string& outcome,
                                std::uint32_t limit) override {
    note("history " + job + "|" + (since ? to_iso8601(*since) : "") + "|" + outcome + "|" +
         std::to_string(limit));
    std::vector<ctl::Run> page;
    for (const ctl::Run& run : runs) {
      if (page.size() < limit && (!until || run.scheduled_at <= *until)) page.push_back(run);
    }
    return page;
  }
  ctl::Calendar calendar(const std::string& job, std::uint32_t count) override {
    note("calendar " + job + " " + std::to_string(count));
    // Of two jobs in turn.
    const Instant first = now + std::chrono::minutes{job == "call_cleanup" ? 1 : 2};
    return {job, "Asia/Kolkata", {first, first + std::chrono::hours{1}}};
  }
  ctl::Receipt receipt(std::uint64_t call_id) override {
    note("receipt " + std::to_string(call_id));
    return test::receipt();
  }
  ctl::Wallet wallet(std::uint64_t user_id, std::uint32_t limit) override {
    note("wallet " + std::to_string(user_id) + " " + std::to_string(limit));
    return test::wallet();
  }
  std::string run(const std::string& job, const ctl::Moment& at) override {
    note("run " + job + (at ? " " + to_iso8601(*at) : ""));
    return "7b0f64c8";
  }
  void pause(const std::string& job) override { note("pause " + job); }
  void resume(const std::string& job) override { note("resume " + job); }
  ctl::Reloaded reload() override {
    note("reload");
    return {{"rates.audio"}, {}, 112};
  }
  void set_log_level(const std::string& level) override { note("set_log_level " + level); }
  void watch() override { note("watch"); }
  ctl::Event next_event(std::chrono::milliseconds /*patience*/) override {
    note("next_event");
    if (events.empty()) throw std::logic_error("waits for what never comes");
    const auto event = events.front();
    events.pop_front();
    return event;
  }

 private:
  void note(const std::string& what) {
    asked_.push_back(what);
    if (what.substr(0, what.find(' ')) == refuses || what == refuses) throw refusal;
  }

  std::vector<std::string>& asked_;
};

class FakeConsole final : public ctl::Console {
 public:
  std::string out;
  std::string err;
  std::vector<std::string> lines;  ///< of progress
  bool watched = false;
  std::vector<std::string> questions;
  std::optional<bool> answer;  ///< nothing: there is nobody to ask

  void print(const std::string& text) override { out += text; }
  void complain(const std::string& text) override { err += text; }
  void progress(const std::string& line) override { lines.push_back(line); }
  std::optional<bool> ask(const std::string& question) override {
    questions.push_back(question);
    return answer;
  }
  [[nodiscard]] bool is_watched() const override { return watched; }
  [[nodiscard]] ctl::Screen screen() const override { return test::screen(); }
  [[nodiscard]] ctl::Screen progress_screen() const override { return test::screen(40); }
};

}  // namespace saathii::test
