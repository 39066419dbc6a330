import type { Command } from 'commander';
import { optionsOf, wayOptions, withWay } from './command-tools.ts';
import type { CommandTools, Commands } from './command-tools.ts';
import { forget, leave, rollback, rollbackFleet, uninstall, upgrade, upgradeFleet } from './commands.ts';
import type { VersionOptions } from './upgrade.ts';

/** What changes a machine’s version, or ends its time in the fleet. */
export function machineCommands({ action, examples, say }: CommandTools): Commands {
  return {
    upgrade(program) {
      const command: Command = program
        .command('upgrade')
        .description(
          say('把本机的 LiveKit 换成另一版本；未能健康则恢复原版本', 'another version of LiveKit on this machine; the former one again unless it is well'),
        )
        .option('--to <version>', say('版本（默认为能取得的最新版本）', 'version (default: the newest that can be had)'))
        .option('--fleet', say('依次更换所有媒体机', 'all media machines, one after the other'))
        .option('--fetch', say('只取得版本，不更换', 'only bring the version'))
        .option('--dry-run', say('只显示计划', 'only show the plan'))
        .addHelpText(
          'after',
          examples('./部署.sh upgrade', './部署.sh upgrade --to 1.13.5', './部署.sh upgrade --fleet --to 1.13.5', './部署.sh upgrade --dry-run'),
        )
        .action(
          action((context) => {
            const { to, fleet } = optionsOf<{ to?: string; fleet?: boolean }>(command);
            return fleet === true ? upgradeFleet(context, to, versionOptions(command)) : upgrade(context, to, versionOptions(command));
          }),
        );
      withWay(command, say);
    },
    rollback(program) {
      const command: Command = program
        .command('rollback')
        .description(say('回到升级前的 LiveKit 版本', 'back to the version of LiveKit that ran before the upgrade'))
        .option('--fleet', say('依次换回所有媒体机', 'all media machines, one after the other'))
        .option('--fetch', say('只取得版本，不更换', 'only bring the version'))
        .option('--dry-run', say('只显示计划', 'only show the plan'))
        .addHelpText('after', examples('./部署.sh rollback', './部署.sh rollback --now', './部署.sh rollback --fleet', './部署.sh rollback --dry-run'))
        .action(
          action((context) => {
            const given = versionOptions(command);
            return optionsOf<{ fleet?: boolean }>(command).fleet === true ? rollbackFleet(context, given) : rollback(context, given);
          }),
        );
      withWay(command, say);
    },
    leave(program) {
      const command: Command = program
        .command('leave')
        .description(say('本媒体机退出集群（先等参会者离开）', 'take this media machine out of the fleet, its participants first'))
        .addHelpText('after', examples('./部署.sh leave', './部署.sh leave --now'))
        .action(action((context) => leave(context, wayOptions(command))));
      withWay(command, say);
    },
    forget(program) {
      const command: Command = program
        .command('forget <machine>')
        .description(say('把一台永久失去的媒体机从集群中除名', 'strike a media machine off the fleet that is lost for good'))
        .option('-y, --yes', say('不询问', 'do not ask'))
        .addHelpText('after', examples('./部署.sh forget 192.168.1.4', './部署.sh forget m192-168-1-4 --yes'))
        .action(action((context, machine = '') => forget(context, machine, { isSure: wayOptions(command).isSure })));
    },
    uninstall(program) {
      const command: Command = program
        .command('uninstall')
        .description(say('从本机卸载，保留数据', 'remove livekit-fleet from this machine, keeping its data'))
        .option(
          '--purge',
          say('同时删除数据、日志、组件与系统用户；备份与 .env 保留', 'also remove data, logs, components and the system user; backups and .env stay'),
        )
        .addHelpText('after', examples('./部署.sh uninstall', './部署.sh uninstall --purge --yes'))
        .action(action((context) => uninstall(context, { ...wayOptions(command), isPurge: optionsOf<{ purge?: boolean }>(command).purge === true })));
      withWay(command, say);
    },
  };
}

function versionOptions(command: Command): VersionOptions {
  const { dryRun, fetch } = optionsOf<{ dryRun?: boolean; fetch?: boolean }>(command);
  return { isDryRun: dryRun === true, isFetch: fetch === true, ...wayOptions(command) };
}
