#include <fmt/format.h>

#include <map>
#include <span>

#include "call_cleanup.sql.hpp"
#include "saathii/base/counted.hpp"
#include "saathii/jobs/billing.hpp"
#include "saathii/jobs/call_projection.hpp"
#include "saathii/jobs/isolate.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/jobs/moment.hpp"
#include "saathii/log/log.hpp"
#include "saathii/postgres/array.hpp"
#include "saathii/postgres/interval.hpp"

namespace saathii::jobs {

namespace {

constexpr const char* reason_texts[][2] = {
    {"not_seen", "both parties have not been seen since"},
    {"overdue", "its expected length was over"},
    {"no_wait_time", "its wait_time was used up"},
};

/// Beyond so many calls that cannot be ended alone, the fault is not theirs.
constexpr int max_failed_calls = 20;

using Page = std::span<const billing::Ending>;

std::string_view text_of(std::string_view reason) {
  for (const auto& [word, text] : reason_texts) {
    if (reason == word) {
      return text;
    }
  }
  return reason;
}

/// One run: page after page of calls that must end.
class Run {
 public:
  Run(const Context& context, CallProjection::Memory& memory, postgres::Session& session)
      : context_(context),
        session_(session),
        moment_(moment_of_run(context, session)),
        projection_(context.redis, memory, moment_, context.term),
        tariff_(billing::record_tariff(session, moment_, context.platform.rates)) {}

  Report run();

 private:
  /// Calls after `last` that must end; of `only` where given.
  std::vector<billing::Ending> doomed(pqxx::transaction_base& transaction, int last,
                                      const std::optional<std::string>& only);
  void end(Page page);
  void give_up_on(const billing::Ending& call, const std::string& reason);
  void tell(const std::vector<billing::Ended>& ended);

  const Context& context_;
  postgres::Session& session_;
  const Instant moment_;
  CallProjection projection_;
  const billing::Tariff tariff_;
  std::map<std::string, std::int64_t> by_reason_;
  std::int64_t ended_ = 0;
  std::int64_t failed_ = 0;
  billing::Taken taken_;
  std::int64_t earned_paise_ = 0;
  std::int64_t refunded_ = 0;
};

std::vector<billing::Ending> Run::doomed(pqxx::transaction_base& transaction, int last,
                                         const std::optional<std::string>& only) {
  const auto rows = session_.exec(transaction, sql::call_cleanup::doomed, to_iso8601(moment_),
                                  postgres::interval(context_.settings.duration("grace")),
                                  postgres::interval(context_.settings.duration("stale_after")),
                                  last, context_.settings.integer("batch_size"), only);
  std::vector<billing::Ending> endings;
  for (const auto& row : rows) {
    endings.push_back({.call_id = row[0].as<int>(),
                       .end_time = Instant{Duration{row[1].as<std::int64_t>()}},
                       .reason = row[2].c_str()});
  }
  return endings;
}

Report Run::run() {
  const auto batch_size = static_cast<std::size_t>(context_.settings.integer("batch_size"));
  for (int last = 0;;) {
    context_.throw_if_stopped();
    const auto page =
        session_.autocommit([&](auto& each) { return doomed(each, last, std::nullopt); });
    if (!page.empty()) {
      last = page.back().call_id;
      isolate(
          context_, Page(page), halves(), [this](Page part) { end(part); },
          [this](Page part, const std::string& reason) { give_up_on(part.front(), reason); });
    }
    if (page.size() < batch_size) {
      break;
    }
  }
  projection_.repair(session_);
  Report report;
  report.counts = {{"ended", ended_}};
  for (const auto& [reason, text] : reason_texts) {
    report.counts.emplace_back(reason, by_reason_[reason]);
  }
  report.counts.emplace_back("minutes", taken_.minutes);
  report.counts.emplace_back("coins", taken_.coins);
  report.counts.emplace_back("refunded", refunded_);
  report.counts.emplace_back("earned_paise", earned_paise_);
  report.counts.emplace_back("failed", failed_);
  report.summary = counted(ended_, "call") + " ended";
  if (taken_.coins > 0 || refunded_ > 0) {
    report.summary +=
        fmt::format(", {} charged, {} given back", counted(taken_.coins, "coin"), refunded_);
  }
  if (failed_ > 0) {
    report.summary += fmt::format("; {} could not be ended", failed_);
  }
  return report;
}

void Run::give_up_on(const billing::Ending& call, const std::string& reason) {
  log::error(log::Message::call_failed,
             fmt::format("call {} could not be ended and is tried again by the next run: {}",
                         call.call_id, reason),
             {{"CALL_ID", std::to_string(call.call_id)}});
  if (++failed_ > max_failed_calls) {
    throw std::runtime_error(fmt::format("more than {} calls could not be ended, the last: {}",
                                         max_failed_calls, reason));
  }
}

void Run::end(Page page) {
  std::vector<int> ids;
  for (const auto& ending : page) {
    ids.push_back(ending.call_id);
  }
  billing::Taken taken;
  std::int64_t refunded = 0;
  const auto ended = session_.transact([&](auto& transaction) {
    const auto locked = billing::lock_calls_to_end(session_, transaction, ids);
    // Decided anew under the locks: a heartbeat or a top-up may have come.
    const auto endings =
        doomed(transaction, 0, postgres::to_array(locked, &billing::Call::call_id));
    billing::open(session_, transaction, endings, moment_);
    refunded = billing::refund(session_, transaction, endings);
    taken = billing::charge_until_end(
        session_, transaction, locked, endings, tariff_,
        {.moment = moment_, .catch_up_limit = context_.settings.integer("charge_catch_up_limit")});
    return billing::settle(session_, transaction, endings, context_.platform);
  });
  taken_.minutes += taken.minutes;
  taken_.coins += taken.coins;
  refunded_ += refunded;
  ended_ += static_cast<std::int64_t>(ended.size());
  tell(ended);
  projection_.ended(session_, ended);
}

void Run::tell(const std::vector<billing::Ended>& ended) {
  for (const auto& call : ended) {
    ++by_reason_[call.reason];
    earned_paise_ += call.earned_paise;
    log::info(
        log::Message::call_ended,
        fmt::format("call {} ended as of {}: {}; {}, {}, listener earned {}", call.call_id,
                    to_iso8601(call.end_time), text_of(call.reason),
                    counted(call.minutes, "minute"), counted(call.coins, "coin"), call.earned),
        {{"CALL_ID", std::to_string(call.call_id)},
         {"USER_ID", std::to_string(call.user_id.value_or(0))}});
  }
}

std::vector<CountMetric> metrics() {
  std::vector<CountMetric> metrics = billing::shared_metrics();
  metrics.push_back({.count = "refunded",
                     .name = "saathiid_coins_refunded_total",
                     .help = "Coins given back for minutes after a call's end"});
  for (const auto& [reason, text] : reason_texts) {
    metrics.push_back(billing::dropped_metric(reason, reason));
  }
  return metrics;
}

class CallCleanup final : public Job {
 public:
  Report run(const Context& context) override {
    const auto lease = context.session();
    return Run(context, memory_, *lease).run();
  }

 private:
  CallProjection::Memory memory_;
};

}  // namespace

Kind call_cleanup() {
  using namespace std::chrono_literals;
  return {.info = {.name = "call_cleanup",
                   .summary = "ends calls that crashed apps left behind or that are overdue",
                   .default_trigger = "every = \"10m\"",
                   .default_policy = {.misfire_grace = 10min},
                   .default_run = {.timeout = 5min},
                   .settings =
                       {
                           {.name = "grace",
                            .default_value = Duration{2min},
                            .help = "A call may last so much longer than expected."},
                           billing::stale_after_setting(),
                           billing::catch_up_setting(),
                           {.name = "batch_size",
                            .default_value = std::int64_t{500},
                            .help = "Calls ended in one transaction.",
                            .min = 1,
                            .max = 10'000},
                       }},
          .make = [] { return std::make_unique<CallCleanup>(); },
          .metrics = metrics()};
}

}  // namespace saathii::jobs
