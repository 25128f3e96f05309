#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "requests.hpp"
#include "tasks1_adaptor.hpp"

namespace saathii::control {

/// The daemon itself on the bus. Its properties are those of the latest update().
class ManagerObject final
    : public sdbus::AdaptorInterfaces<com::saathiiapp::Tasks1::Manager_adaptor> {
 public:
  ManagerObject(sdbus::IConnection& connection, const Desk& desk, Requests& requests);
  virtual ~ManagerObject();

  /// Tells the bus which properties have changed, if any. Returns whether it did.
  bool update();

 private:
  struct Properties {
    std::string time_zone, log_level, health_level;
    std::vector<wire::Server> servers;
    wire::Leadership leadership;
  };
  [[nodiscard]] static Properties look(const Desk& desk);

  std::vector<wire::JobRow> ListJobs() override;
  sdbus::ObjectPath GetJob(const std::string& name) override;
  void Run(sdbus::Result<std::string>&& result, std::string name, std::uint64_t at) override;
  void Pause(sdbus::Result<>&& result, std::string name) override;
  void Resume(sdbus::Result<>&& result, std::string name) override;
  void Reload(sdbus::Result<std::vector<std::string>, std::vector<std::string>, std::uint32_t>&&
                  result) override;
  std::tuple<std::string, std::vector<wire::Finding>> Health() override;
  void SetLogLevel(sdbus::Result<>&& result, std::string level) override;
  void History(sdbus::Result<std::vector<wire::HistoryRow>>&& result, std::string name,
               std::uint64_t since, std::uint64_t until, std::string outcome,
               std::uint32_t limit) override;
  void Calendar(sdbus::Result<std::vector<std::uint64_t>, std::string>&& result, std::string name,
                std::uint32_t count) override;
  void CallReceipt(sdbus::Result<wire::Details, std::vector<wire::Minute>>&& result,
                   std::uint64_t call_id) override;
  void Wallet(sdbus::Result<std::int64_t, std::string, std::vector<std::int64_t>,
                            std::vector<wire::WalletEntry>>&& result,
              std::uint64_t user_id, std::uint32_t limit) override;

  std::string Version() override { return desk_.version; }
  std::uint64_t StartedAt() override { return wire::moment(desk_.started_at); }
  std::string ConfigFile() override { return wire::text(desk_.config_file); }
  std::string TimeZone() override { return now_.time_zone; }
  std::string LogLevel() override { return now_.log_level; }
  std::string HealthLevel() override { return now_.health_level; }
  std::vector<wire::Server> Servers() override { return now_.servers; }
  wire::Leadership Leadership() override { return now_.leadership; }
  std::uint64_t OutcomesWaiting() override { return desk_.runner.outcomes_waiting(); }

  const Desk& desk_;
  Requests& requests_;
  Properties now_;
};

}  // namespace saathii::control
