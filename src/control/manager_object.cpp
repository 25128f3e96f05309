#include "manager_object.hpp"

#include <utility>

namespace saathii::control {

ManagerObject::ManagerObject(sdbus::IConnection& connection, const Desk& desk, Requests& requests)
    : AdaptorInterfaces(connection, sdbus::ObjectPath{wire::manager_path}),
      desk_(desk),
      requests_(requests),
      now_(look(desk)) {
  registerAdaptor();
  getObject().addObjectManager();
}

ManagerObject::~ManagerObject() { unregisterAdaptor(); }

ManagerObject::Properties ManagerObject::look(const Desk& desk) {
  return {desk.time_zone(), desk.log_level(),
          std::string(health::to_string(desk.health.report().level)),
          wire::servers(desk.health.servers()),
          wire::leadership(desk.runner.leadership(), desk.runner.instance())};
}

bool ManagerObject::update() {
  const Properties before = std::exchange(now_, look(desk_));
  std::vector<std::string> names;
  const auto add_if = [&](bool changed, const char* name) {
    if (changed) {
      names.emplace_back(name);
    }
  };
  add_if(now_.time_zone != before.time_zone, "TimeZone");
  add_if(now_.log_level != before.log_level, "LogLevel");
  add_if(now_.health_level != before.health_level, "HealthLevel");
  add_if(now_.servers != before.servers, "Servers");
  add_if(now_.leadership != before.leadership, "Leadership");
  if (!names.empty()) {
    emit_changed(getObject(), INTERFACE_NAME, names);
  }
  return !names.empty();
}

std::vector<wire::JobRow> ManagerObject::ListJobs() {
  return guarded([&] {
    std::vector<wire::JobRow> rows;
    for (const runner::JobView& job : desk_.runner.jobs()) {
      rows.push_back(wire::job_row(job));
    }
    return rows;
  });
}

sdbus::ObjectPath ManagerObject::GetJob(const std::string& name) {
  return guarded([&] { return wire::job_path(requests_.job(name).name); });
}

std::tuple<std::string, std::vector<wire::Finding>> ManagerObject::Health() {
  return guarded([&]() -> std::tuple<std::string, std::vector<wire::Finding>> {
    const health::Report& report = desk_.health.report();
    return {std::string(health::to_string(report.level)), wire::findings(report)};
  });
}

void ManagerObject::Run(sdbus::Result<std::string>&& result, std::string name, std::uint64_t at) {
  guarded([&] { requests_.run(caller_of(getObject()), std::move(result), name, at); });
}

void ManagerObject::Pause(sdbus::Result<>&& result, std::string name) {
  guarded([&] { requests_.pause(caller_of(getObject()), std::move(result), name); });
}

void ManagerObject::Resume(sdbus::Result<>&& result, std::string name) {
  guarded([&] { requests_.resume(caller_of(getObject()), std::move(result), name); });
}

void ManagerObject::Reload(
    sdbus::Result<std::vector<std::string>, std::vector<std::string>, std::uint32_t>&& result) {
  guarded([&] { requests_.reload(caller_of(getObject()), std::move(result)); });
}

void ManagerObject::SetLogLevel(sdbus::Result<>&& result, std::string level) {
  guarded([&] { requests_.set_log_level(caller_of(getObject()), std::move(result), level); });
}

void ManagerObject::History(sdbus::Result<std::vector<wire::HistoryRow>>&& result, std::string name,
                            std::uint64_t since, std::uint64_t until, std::string outcome,
                            std::uint32_t limit) {
  guarded([&] {
    requests_.history(caller_of(getObject()), std::move(result), name, since, until, outcome,
                      limit);
  });
}

void ManagerObject::Calendar(sdbus::Result<std::vector<std::uint64_t>, std::string>&& result,
                             std::string name, std::uint32_t count) {
  guarded([&] { requests_.calendar(caller_of(getObject()), std::move(result), name, count); });
}

void ManagerObject::CallReceipt(sdbus::Result<wire::Details, std::vector<wire::Minute>>&& result,
                                std::uint64_t call_id) {
  guarded([&] { requests_.receipt(caller_of(getObject()), std::move(result), call_id); });
}

void ManagerObject::Wallet(sdbus::Result<std::int64_t, std::string, std::vector<std::int64_t>,
                                         std::vector<wire::WalletEntry>>&& result,
                           std::uint64_t user_id, std::uint32_t limit) {
  guarded([&] { requests_.wallet(caller_of(getObject()), std::move(result), user_id, limit); });
}

}  // namespace saathii::control
