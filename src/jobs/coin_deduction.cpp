#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "coin_deduction.sql.hpp"
#include "due_calls.hpp"
#include "saathii/base/counted.hpp"
#include "saathii/jobs/billing.hpp"
#include "saathii/jobs/call_projection.hpp"
#include "saathii/jobs/charge_memory.hpp"
#include "saathii/jobs/isolate.hpp"
#include "saathii/jobs/job.hpp"
#include "saathii/jobs/moment.hpp"
#include "saathii/jobs/shares.hpp"
#include "saathii/log/log.hpp"
#include "saathii/postgres/array.hpp"
#include "saathii/postgres/interval.hpp"

namespace saathii::jobs {

namespace {

/// Beyond so many callers that cannot be charged alone, the fault is not theirs.
constexpr int max_failed_callers = 20;

/// So often Redis is searched for calls that are no longer there.
constexpr int minutes_between_reviews = 10;
constexpr Duration least_between_reviews = std::chrono::seconds{30};

/// Of a run that other instances take a share of, for each session that works on it:
/// more than one, so that who is slow holds up little.
constexpr std::int64_t slices_per_session = 4;
constexpr std::int64_t max_slices = 256;
/// The leader looks so often whether the helpers are done.
constexpr std::chrono::milliseconds between_looks{10};

struct Totals {
  std::int64_t charged = 0;
  std::int64_t minutes = 0;
  std::int64_t coins = 0;
  std::int64_t waived = 0;
  std::int64_t ended = 0;
  std::int64_t earned_paise = 0;
  std::int64_t failed = 0;
  std::int64_t warned = 0;   ///< by helpers: the projection counts its own
  std::int64_t unshown = 0;  ///< how often a helper could not show what it did
};

/// What a helper tells the leader, by name.
constexpr std::pair<const char*, std::int64_t Totals::*> told_to_leader[] = {
    {"charged", &Totals::charged}, {"minutes", &Totals::minutes},
    {"coins", &Totals::coins},     {"waived", &Totals::waived},
    {"ended", &Totals::ended},     {"earned_paise", &Totals::earned_paise},
    {"failed", &Totals::failed},   {"warned", &Totals::warned},
    {"unshown", &Totals::unshown}};

/// The calls whose next started minute the balance does not cover, sorted by id.
std::vector<int> short_ones(const std::vector<billing::Charged>& calls) {
  std::vector<int> ids;
  for (const auto& call : calls) {
    if (call.is_short) {
      ids.push_back(call.call_id);
    }
  }
  std::ranges::sort(ids);
  return ids;
}

/// One run: finds the calls that are due and charges them, batch after batch,
/// on a few sessions at once.
class Run {
 public:
  Run(const Context& context, CallProjection::Memory& projected, ChargeMemory& memory,
      billing::Tariff tariff, Instant moment)
      : context_(context),
        memory_(memory),
        moment_(moment),
        projection_(context.redis, projected, moment_, context.term),
        tariff_(std::move(tariff)),
        terms_{.moment = moment_,
               .catch_up_limit = context.settings.integer("charge_catch_up_limit")} {}

  void find_due(postgres::Session& session);
  /// With the help of other instances, where there are any and it is worth it.
  void offer_shares(postgres::Session& session);
  /// As a helper: only what `shares` offers.
  void take_shares(Shares shares) {
    shares_ = std::move(shares);
    is_helper_ = true;
  }
  void charge_all(postgres::Session& session);
  void finish(postgres::Session& session);
  Report finish_share();
  [[nodiscard]] Report report() const;

 private:
  void work(postgres::Session& session);
  void work_on(postgres::Session& session, Batch calls);
  void work_on_shares(postgres::Session& session);
  void give_back(postgres::Session& session, int slice);
  void await_helpers(postgres::Session& session);
  void work_beside();
  [[nodiscard]] Shares::Counts take_counts();
  void remember_failure();
  [[nodiscard]] Batch next_batch();
  void charge_batch(postgres::Session& session, Batch batch);
  std::vector<int> charge_once(postgres::Session& session, Batch batch);
  std::vector<int> end_short(postgres::Session& session, const std::vector<int>& call_ids);
  void count(const std::vector<billing::Charged>& calls);
  void give_up_on(Batch caller, const std::string& reason);

  const Context& context_;
  ChargeMemory& memory_;
  const Instant moment_;
  CallProjection projection_;
  const billing::Tariff tariff_;
  const billing::Terms terms_;
  std::vector<Due> due_;
  std::int64_t held_ = 0;
  std::optional<Shares> shares_;
  bool is_helper_ = false;

  mutable std::mutex mutex_;  ///< guards what follows, while several sessions work
  std::size_t next_ = 0;
  Totals totals_;
  std::int64_t charged_for_leader_ = 0;
  std::int64_t warned_told_ = 0;  ///< a helper's warnings that the leader knows of
  std::exception_ptr failure_;
};

void Run::find_due(postgres::Session& session) {
  const auto& audio = tariff_.rates.at("audio");
  const auto& video = tariff_.rates.at("video");
  const auto& minutes = tariff_.minutes;
  session.autocommit([&](auto& each) {
    const auto row =
        session.exec(each, sql::coin_deduction::due_calls, to_iso8601(moment_),
                     postgres::interval(minutes.latest()),
                     postgres::interval(context_.settings.duration("stale_after")), audio.latest(),
                     audio.highest(), video.latest(), video.highest(),
                     to_iso8601(std::max({audio.latest_since(), video.latest_since(), Instant{}})),
                     to_iso8601(std::max(minutes.latest_since(), Instant{})),
                     postgres::interval(minutes.lowest()))[0];
    std::array<std::vector<int>, 5> columns;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      columns[i] = postgres::parse_int_array(row[static_cast<int>(i)].c_str());
    }
    due_.reserve(columns[0].size());
    for (std::size_t i = 0; i < columns[0].size(); ++i) {
      due_.push_back({.user_id = columns[1][i],
                      .call_id = columns[0][i],
                      .listener_id = columns[2][i],
                      .caller_waits = columns[3][i],
                      .listener_waits = columns[4][i]});
    }
    held_ = row[5].template as<std::int64_t>();
    return 0;
  });
  scatter(due_);
}

void Run::offer_shares(postgres::Session& session) {
  const auto least = context_.settings.integer("share_above");
  if (context_.term == 0 || least == 0 || static_cast<std::int64_t>(due_.size()) <= least) {
    return;
  }
  if (const auto helpers = Shares::helpers(session); helpers > 0) {
    const auto slices = std::min<std::int64_t>(
        (helpers + 1) * context_.settings.integer("sessions") * slices_per_session, max_slices);
    shares_ =
        Shares::offer(session, context_.job, context_.term, moment_, static_cast<int>(slices));
  }
}

void Run::work_on_shares(postgres::Session& session) {
  while (const auto number = shares_->claim(session)) {
    try {
      work_on(session, slice_of(due_, *number, shares_->slices()));
    } catch (const Unavailable&) {
      throw;  // the claim is worth no more than the session
    } catch (const Stopped&) {
      throw;  // which breaks the session, too
    } catch (...) {
      give_back(session, *number);
      throw;
    }
    shares_->finish(session, *number, take_counts());
  }
}

/// What went wrong is what counts, not that this could not be told either.
void Run::give_back(postgres::Session& session, int slice) {
  try {
    shares_->give_back(session, slice, take_counts());
  } catch (const std::exception&) {
    // Its claim runs out.
  }
}

/// Until all is done; what a helper does not come back with is done here after all.
void Run::await_helpers(postgres::Session& session) {
  while (shares_->left(session) > 0) {
    context_.throw_if_stopped();
    std::this_thread::sleep_for(between_looks);
    work_on_shares(session);
  }
  auto sums = shares_->sums(session);
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [name, count] : told_to_leader) {
      totals_.*count += sums[name];
    }
    if (totals_.unshown > 0) {
      projection_.doubt();
    }
  }
  shares_->close(session);
}

/// What a helper has done since the last time, of which nobody has been told.
Shares::Counts Run::take_counts() {
  if (!is_helper_) {
    return {};
  }
  const std::scoped_lock lock(mutex_);
  Totals done = std::exchange(totals_, {});
  charged_for_leader_ += done.charged;
  const auto warned = projection_.warned();
  done.warned = warned - std::exchange(warned_told_, warned);
  done.unshown = projection_.complete() ? 0 : 1;
  Shares::Counts counts;
  for (const auto& [name, count] : told_to_leader) {
    counts[name] = done.*count;
  }
  return counts;
}

void Run::charge_all(postgres::Session& session) {
  const auto batch_size = static_cast<std::size_t>(context_.settings.integer("batch_size"));
  const auto batches = (due_.size() + batch_size - 1) / batch_size;
  const auto sessions =
      std::min(static_cast<std::size_t>(context_.settings.integer("sessions")), batches);
  {
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < sessions; ++i) {
      helpers.emplace_back([this, fields = log::fields_in_scope()] {
        const log::Scope scope(fields);
        work_beside();
      });
    }
    try {
      work(session);
    } catch (...) {
      remember_failure();
    }
  }
  if (failure_) {
    std::rethrow_exception(failure_);
  }
  if (shares_ && !is_helper_) {
    await_helpers(session);
  }
}

/// On a second session, if there is one to be had at once: this run holds one
/// already, and to wait for another could be to wait for itself. Without it the
/// first does all the work.
void Run::work_beside() {
  try {
    if (const auto lease = context_.another_session()) {
      work(**lease);
    }
  } catch (...) {
    remember_failure();
  }
}

/// The others go on: what can be charged is charged before the run fails.
void Run::remember_failure() {
  const std::scoped_lock lock(mutex_);
  failure_ = failure_ ? failure_ : std::current_exception();
}

void Run::work(postgres::Session& session) {
  if (shares_) {
    work_on_shares(session);
    return;
  }
  for (Batch batch = next_batch(); !batch.empty(); batch = next_batch()) {
    work_on(session, batch);
  }
}

void Run::work_on(postgres::Session& session, Batch calls) {
  const auto batch_size = static_cast<std::size_t>(context_.settings.integer("batch_size"));
  const auto half = [](Batch batch) { return whole_callers(batch, batch.size() / 2); };
  const auto charge = [&](Batch batch) { charge_batch(session, batch); };
  const auto give_up = [&](Batch caller, const std::string& reason) { give_up_on(caller, reason); };
  while (!calls.empty()) {
    const Batch batch = calls.first(whole_callers(calls, batch_size));
    calls = calls.subspan(batch.size());
    context_.throw_if_stopped();
    isolate(context_, batch, half, charge, give_up);
  }
}

Batch Run::next_batch() {
  const std::scoped_lock lock(mutex_);
  const Batch rest = Batch(due_).subspan(next_);
  const Batch batch = rest.first(
      whole_callers(rest, static_cast<std::size_t>(context_.settings.integer("batch_size"))));
  next_ += batch.size();
  return batch;
}

void Run::give_up_on(Batch caller, const std::string& reason) {
  log::error(log::Message::call_failed,
             fmt::format("call {} could not be charged and is tried again by the next run: {}",
                         caller.front().call_id, reason),
             {{"CALL_ID", std::to_string(caller.front().call_id)},
              {"USER_ID", std::to_string(caller.front().user_id)}});
  const std::scoped_lock lock(mutex_);
  if (++totals_.failed > max_failed_callers) {
    throw std::runtime_error(fmt::format("more than {} callers could not be charged, the last: {}",
                                         max_failed_callers, reason));
  }
}

void Run::charge_batch(postgres::Session& session, Batch batch) {
  std::vector<Due> left(batch.begin(), batch.end());
  try {
    keep_callers(left, charge_once(session, batch));
  } catch (...) {
    memory_.forget(ids_of(batch));
    throw;
  }
  // Every pass ends a call of each caller that is left, so that there are few:
  // what comes after the ended call's minute on the same wallet is due again.
  while (!left.empty()) {
    const auto short_calls = end_short(session, ids_of(left));
    keep_callers(left, short_calls);
    std::erase_if(
        left, [&](const Due& due) { return std::ranges::binary_search(short_calls, due.call_id); });
  }
}

std::vector<int> Run::charge_once(postgres::Session& session, Batch batch) {
  const auto call_ids = ids_of(batch);
  const auto known_wait_times = wait_times_of(batch);
  std::vector<int> short_calls;
  for (bool is_complete = false; !is_complete;) {
    context_.throw_if_stopped();
    const auto charges = session.transact([&](auto& transaction) {
      if (batch.front().user_id != batch.back().user_id) {
        session.exec(transaction, sql::coin_deduction::wait_less);
      }
      auto calls = billing::lock_calls(session, transaction, call_ids);
      memory_.recall(calls, moment_);
      return billing::charge(session, transaction, std::move(calls), tariff_, terms_,
                             known_wait_times);
    });
    memory_.remember(charges.calls, moment_);
    count(charges.calls);
    projection_.charged(session, charges.calls);
    short_calls = short_ones(charges.calls);
    is_complete = charges.is_complete;
  }
  return short_calls;
}

/// Charges the given calls, all of their callers', and ends those whose next started minute
/// the balance does not cover. Decided anew, under the locks of both parties'
/// wallets: a top-up may have come. Returns the calls that ended.
std::vector<int> Run::end_short(postgres::Session& session, const std::vector<int>& call_ids) {
  std::vector<billing::Charged> charged;
  const auto ended = session.transact([&](auto& transaction) {
    charged =
        billing::charge(session, transaction,
                        billing::lock_calls_to_end(session, transaction, call_ids), tariff_, terms_)
            .calls;
    std::vector<billing::Ending> endings;
    for (const auto& call : charged) {
      if (call.is_short) {
        endings.push_back({.call_id = call.call_id, .end_time = moment_, .reason = "balance"});
      }
    }
    return endings.empty() ? std::vector<billing::Ended>{}
                           : billing::settle(session, transaction, endings, context_.platform);
  });
  count(charged);
  {
    const std::scoped_lock lock(mutex_);
    totals_.ended += static_cast<std::int64_t>(ended.size());
    for (const auto& call : ended) {
      totals_.earned_paise += call.earned_paise;
    }
  }
  for (const auto& call : ended) {
    log::info(log::Message::call_ended,
              fmt::format("call {} ended: the balance does not cover its next minute; {}, {}, "
                          "listener earned {}",
                          call.call_id, counted(call.minutes, "minute"),
                          counted(call.coins, "coin"), call.earned),
              {{"CALL_ID", std::to_string(call.call_id)},
               {"USER_ID", std::to_string(call.user_id.value_or(0))}});
  }
  projection_.charged(session, charged);
  projection_.ended(session, ended);
  return short_ones(charged);
}

void Run::count(const std::vector<billing::Charged>& calls) {
  const std::scoped_lock lock(mutex_);
  for (const auto& call : calls) {
    totals_.charged += call.minutes > 0 ? 1 : 0;
    totals_.minutes += call.minutes - call.waived;
    totals_.coins += call.coins;
    totals_.waived += call.waived;
  }
}

void Run::finish(postgres::Session& session) {
  projection_.repair(
      session, std::max(minutes_between_reviews * tariff_.minutes.latest(), least_between_reviews));
  memory_.sweep(moment_);
}

Report Run::finish_share() {
  projection_.leave_repair_to_leader();
  memory_.sweep(moment_);
  const std::scoped_lock lock(mutex_);
  return {{}, counted(charged_for_leader_, "call") + " charged"};
}

Report Run::report() const {
  const std::scoped_lock lock(mutex_);
  Report report;
  report.counts = {{"charged", totals_.charged},
                   {"minutes", totals_.minutes},
                   {"coins", totals_.coins},
                   {"ended", totals_.ended},
                   {"earned_paise", totals_.earned_paise},
                   {"warned", projection_.warned() + totals_.warned},
                   {"waived", totals_.waived},
                   {"held", held_},
                   {"failed", totals_.failed}};
  report.summary = fmt::format("{} charged, {}", counted(totals_.charged, "call"),
                               counted(totals_.coins, "coin"));
  if (totals_.ended > 0) {
    report.summary += fmt::format("; {} ended, balance used up", totals_.ended);
  }
  if (totals_.failed > 0) {
    report.summary += fmt::format("; {} could not be charged", totals_.failed);
  }
  return report;
}

std::vector<CountMetric> metrics() {
  std::vector<CountMetric> metrics = billing::shared_metrics();
  metrics.insert(
      metrics.end(),
      {{.count = "charged",
        .name = "saathiid_calls_charged_total",
        .help = "Calls charged for one minute or more, once for each run"},
       billing::dropped_metric("ended", "balance"),
       {.count = "warned",
        .name = "saathiid_low_balance_warnings_total",
        .help = "Warnings published that the coming minute is the last one affordable"},
       {.count = "waived",
        .name = "saathiid_charges_waived_total",
        .help = "Started minutes that charge_catch_up_limit let go uncharged"},
       {.count = "held",
        .name = "saathiid_calls_held",
        .type = CountMetric::Type::gauge,
        .help = "Ongoing calls that were not charged, because neither party was seen lately"}});
  return metrics;
}

class CoinDeduction final : public Job {
 public:
  Report run(const Context& context) override {
    const auto lease = context.session();
    const Instant moment = moment_of_run(context, *lease);
    Run run(context, projected_, charged_,
            billing::record_tariff(*lease, moment, context.platform.rates), moment);
    run.find_due(*lease);
    run.offer_shares(*lease);
    run.charge_all(*lease);
    run.finish(*lease);
    return run.report();
  }

  Report help(const Context& context) override {
    const auto lease = context.session();
    auto shares = Shares::find(*lease, context.job);
    if (!shares || shares->term() != context.term) {
      return {{}, "nothing is offered any more"};
    }
    // What this instance's own configuration says of rates is the leader's to record.
    auto tariff = lease->autocommit([&](auto& each) { return billing::read_tariff(*lease, each); });
    Run run(context, projected_, charged_, std::move(tariff), shares->moment());
    run.find_due(*lease);
    run.take_shares(*std::move(shares));
    run.charge_all(*lease);
    return run.finish_share();
  }

 private:
  CallProjection::Memory projected_;
  ChargeMemory charged_;
};

}  // namespace

Kind coin_deduction() {
  using namespace std::chrono_literals;
  return {.info = {.name = "coin_deduction",
                   .summary = "charges each started minute of ongoing calls, ends who cannot pay",
                   .default_trigger = "every = \"1m\"",
                   // A late tick is always worth running: it charges all that is due.
                   .default_policy = {.misfire_grace = 24h, .overlap = schedule::Overlap::queue},
                   .default_run = {.timeout = 10min, .run_at_start = true},
                   .settings =
                       {
                           {.name = "batch_size",
                            .default_value = std::int64_t{5000},
                            .help = "Calls charged in one transaction.",
                            .min = 1,
                            .max = 50'000},
                           {.name = "sessions",
                            .default_value = std::int64_t{2},
                            .help = "PostgreSQL sessions that charge at once.",
                            .min = 1,
                            .max = 16},
                           {.name = "share_above",
                            .default_value = std::int64_t{20'000},
                            .help = "More calls than so many due at once are charged with the "
                                    "help of instances that stand by. 0: never.",
                            .min = 0,
                            .max = 100'000'000},
                           billing::stale_after_setting(),
                           billing::catch_up_setting(),
                       }},
          .make = [] { return std::make_unique<CoinDeduction>(); },
          .metrics = metrics(),
          .can_be_shared = true};
}

}  // namespace saathii::jobs
