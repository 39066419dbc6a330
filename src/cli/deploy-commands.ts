import type { Command } from 'commander';
import { requireRoot } from './become-root.ts';
import { optionsOf, wayOptions, withWay } from './command-tools.ts';
import type { CommandTools, Commands } from './command-tools.ts';
import { deploy, join, showPlan } from './commands.ts';
import { loadSettings } from './context.ts';
import type { DeployOptions } from './deploy.ts';

/** What makes of a machine a part of a fleet. */
export function deployCommands({ action, examples, say }: CommandTools): Commands {
  return {
    deploy(program) {
      const command: Command = program
        .command('deploy')
        .description(say('在本机启动全部部件（缺什么装什么），再次执行不做改动', 'bring everything up on this machine; a second run changes nothing'))
        .option('--dry-run', say('只显示计划', 'only show the plan'))
        .addHelpText('after', examples('./部署.sh deploy', './部署.sh deploy --dry-run', 'DOMAIN=meet.example.com ./部署.sh deploy'))
        .action(action((context) => deploy(context, { role: 'all', ...deployOptions(command) })));
      withNewFleet(command, say);
      withWay(command, say);
    },
    'deploy-caddy-service-only'(program) {
      const command: Command = program
        .command('deploy-caddy-service-only')
        .description(say('机器 1：只部署 Caddy 与业务服务', 'machine 1: Caddy and the business service only'))
        .option('--dry-run', say('只显示计划', 'only show the plan'))
        .addHelpText('after', examples('./部署.sh deploy-caddy-service-only', 'DOMAIN=meet.example.com ./部署.sh deploy-caddy-service-only --dry-run'))
        .action(action((context) => deploy(context, { role: 'gateway', ...deployOptions(command) })));
    },
    'deploy-livekit-only'(program) {
      const command: Command = program
        .command('deploy-livekit-only')
        .description(say('机器 2 及以后：只部署 LiveKit 与 Redis', 'machines 2 and up: LiveKit and Redis only'))
        .option('--dry-run', say('只显示计划', 'only show the plan'))
        .addHelpText(
          'after',
          examples('NODES=localhost ./部署.sh deploy-livekit-only', 'NODES=192.168.1.2,192.168.1.3,192.168.1.4 ./部署.sh deploy-livekit-only'),
        )
        .action(action((context) => deploy(context, { role: 'media', ...deployOptions(command) })));
      withNewFleet(command, say);
      withWay(command, say);
    },
    join(program) {
      const command: Command = program
        .command('join [line]')
        .description(say('机器 1：写入媒体机输出的 join 行', 'machine 1: take the join line that a media machine printed'))
        .option('--force', say('即使本机属于另一个集群', 'even where this machine belongs to another fleet'))
        .addHelpText('after', examples('./部署.sh join lkf1.…', './部署.sh join - < line.txt'))
        .action(action((context, line) => join(context, line, { isForced: optionsOf<{ force?: boolean }>(command).force === true })));
    },
    plan(program) {
      program
        .command('plan')
        .description(say('显示 deploy 会做什么', 'show what deploy would do'))
        .addHelpText('after', examples('./部署.sh plan', 'LOG_LEVEL=debug ./部署.sh plan --json'))
        .action(
          action(async (context) => {
            requireRoot('plan');
            await showPlan(context, loadSettings(context), { isNewFleet: false });
          }),
        );
    },
  };
}

function withNewFleet(command: Command, say: CommandTools['say']): void {
  command.option('--new-fleet', say('本机退出的集群已不复存在，另建一个', 'the fleet that this machine left is gone for good: begin another one'));
}

function deployOptions(command: Command): Omit<DeployOptions, 'role'> {
  const { dryRun, newFleet } = optionsOf<{ dryRun?: boolean; newFleet?: boolean }>(command);
  return { isDryRun: dryRun === true, isNewFleet: newFleet === true, ...wayOptions(command) };
}
