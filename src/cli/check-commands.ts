import type { Command } from 'commander';
import { optionsOf } from './command-tools.ts';
import type { CommandTools, Commands } from './command-tools.ts';
import { drill, journal, listDrills, verify } from './commands.ts';
import { parseCount } from './usage.ts';

/** What proves that a fleet works, and tells what was done on it. */
export function checkCommands({ action, examples, say }: CommandTools): Commands {
  return {
    verify(program) {
      const command: Command = program
        .command('verify')
        .description(say('经由 Caddy 开一次真实会议', 'hold a real meeting through Caddy'))
        .option('--timeout <seconds>', say('每一步的最长秒数（默认 15）', 'longest time for one step in seconds (default: 15)'), parseCount)
        .addHelpText('after', examples('./部署.sh verify', './部署.sh verify --json', './部署.sh verify --timeout 60'))
        .action(action((context) => verify(context, { timeoutSeconds: optionsOf<{ timeout?: number }>(command).timeout ?? 15 })));
    },
    drill(program) {
      const command: Command = program
        .command('drill [fault]')
        .description(
          say('演练故障：故意制造一种（或全部）故障，量出参会者的损失', 'hold a fault, or all of them, on purpose, and measure what participants lose'),
        )
        .option('--list', say('列出可演练的故障及其限度', 'list the faults, and what each may cost'))
        .option(
          '--machine <address>',
          say('由哪台媒体机承受（默认为没有 Redis 主节点的一台）', 'the media machine to be met (default: one without the Redis primary)'),
        )
        .option('--dry-run', say('只显示计划', 'only show the plan'))
        .option('-y, --yes', say('不询问', 'do not ask'))
        .addHelpText(
          'after',
          examples('./部署.sh drill --list', './部署.sh drill livekit', './部署.sh drill cut --machine 192.168.1.4', './部署.sh drill --yes --json'),
        )
        .action(
          action((context, fault) => {
            const given = optionsOf<{ list?: boolean; machine?: string; dryRun?: boolean; yes?: boolean }>(command);
            if (given.list === true) return listDrills(context);
            return drill(context, fault, { machine: given.machine, isSure: given.yes === true, isDryRun: given.dryRun === true });
          }),
        );
    },
    journal(program) {
      const command: Command = program
        .command('journal')
        .description(say('何时、何人、在哪台机器上做了什么', 'what was done on the fleet: when, where, by whom, with which result'))
        .option('-n, --lines <n>', say('行数（默认 50）', 'number of lines (default: 50)'), parseCount)
        .addHelpText('after', examples('./部署.sh journal', './部署.sh journal -n 200 --json'))
        .action(action((context) => journal(context, { lines: optionsOf<{ lines?: number }>(command).lines ?? 50 })));
    },
  };
}
