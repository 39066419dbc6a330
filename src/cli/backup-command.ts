import type { Command } from 'commander';
import { FleetError } from '../kernel/errors.ts';
import { backup, listBackups, pruneBackups, verifyBackup } from './commands.ts';
import type { GlobalOptions } from './context.ts';
import type { CommandTools } from './service-commands.ts';
import { parseCount } from './usage.ts';

interface BackupWords {
  readonly to?: string;
  readonly verify?: boolean;
  readonly prune?: boolean;
  readonly keep?: number;
  readonly dryRun?: boolean;
}

/** `backup`, with what it does besides. */
export function addBackupCommand(program: Command, { action, examples, say }: CommandTools): void {
  const command: Command = program
    .command('backup [action]')
    .description(
      say(
        '备份本机：Redis、数据库、设置与密钥；list 列出，prune 删除旧备份，--verify 备份文件 验证已有的',
        'back this machine up: Redis, database, settings and keys; list shows, prune removes, --verify ARCHIVE proves one that is there',
      ),
    )
    .addHelpText(
      'after',
      examples(
        './部署.sh backup',
        './部署.sh backup --verify',
        './部署.sh backup --to /mnt/backups',
        './部署.sh backup list',
        './部署.sh backup prune --keep 3',
      ),
    )
    .option('--to <place>', say('目录，或 s3://桶/前缀（默认为 BACKUP_DIR）', 'a folder, or s3://bucket/prefix (default: BACKUP_DIR)'))
    .option('--verify', say('写完后解包、载入并清点', 'unpack, load and count it when it is written'))
    .option('--prune', say('成功后删除超出 BACKUP_KEEP 的旧备份', 'remove what is beyond BACKUP_KEEP after it succeeded'))
    .option('--keep <n>', say('prune：每台机器保留的个数（默认为 BACKUP_KEEP）', 'prune: how many of each machine stay (default: BACKUP_KEEP)'), parseCount)
    .option('--dry-run', say('只显示会做什么', 'only show what would be done'))
    .action(
      action((context, what) => {
        const given = command.optsWithGlobals<BackupWords & GlobalOptions>();
        const { to, keep } = given;
        const isDryRun = given.dryRun === true;
        if (what === undefined) {
          if (given.prune !== true) refuse(given, ['keep'], '--prune');
          return backup(context, { to, isProved: given.verify === true, isPruned: given.prune === true, keep, isDryRun });
        }
        if (what === 'list') {
          refuse(given, ['keep'], 'backup prune');
          refuse(given, ['verify', 'prune', 'dryRun'], 'backup');
          return listBackups(context, to);
        }
        if (what === 'prune') {
          refuse(given, ['verify', 'prune'], 'backup');
          return pruneBackups(context, { to, keep, isDryRun });
        }
        if (given.verify !== true)
          throw new FleetError('UNKNOWN_COMMAND', { given: `backup ${what}`, suggestion: 'backup list, backup prune' }, { exitCode: 2 });
        refuse(given, ['keep'], 'backup prune');
        refuse(given, ['to', 'prune', 'dryRun'], 'backup');
        return verifyBackup(context, what);
      }),
    );
}

/** @throws FleetError OPTION_NEEDS where one of these was given */
function refuse(given: BackupWords, names: ReadonlyArray<keyof BackupWords>, other: string): void {
  for (const name of names)
    if (given[name] !== undefined) throw new FleetError('OPTION_NEEDS', { option: name === 'dryRun' ? '--dry-run' : `--${name}`, other }, { exitCode: 2 });
}
