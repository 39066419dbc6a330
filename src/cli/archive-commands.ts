import type { Command } from 'commander';
import { FleetError } from '../kernel/errors.ts';
import { optionsOf, wayOptions, withWay } from './command-tools.ts';
import type { CommandTools, Commands } from './command-tools.ts';
import { backup, bundle, listBackups, pruneBackups, restore, verifyBackup } from './commands.ts';
import { parseCount } from './usage.ts';

interface BackupWords {
  readonly to?: string;
  readonly verify?: boolean;
  readonly prune?: boolean;
  readonly keep?: number;
  readonly dryRun?: boolean;
}

/** What packs a machine’s data, or the product, into one file, and unpacks it. */
export function archiveCommands({ action, examples, say }: CommandTools): Commands {
  return {
    backup(program) {
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
            const given = optionsOf<BackupWords>(command);
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
    },
    restore(program) {
      const command: Command = program
        .command('restore <archive>')
        .description(
          say(
            '恢复备份；先检查一切，未能健康则回到之前的状态',
            'restore a backup: all of it is checked first, and unless all is well what stood before is back',
          ),
        )
        .option('--dry-run', say('只检查备份并显示会做什么', 'only check the archive, and show what would be done'))
        .option('--alone', say('集群其余机器已永久丢失，只剩本机', 'the other machines of the fleet are gone for good, and this one is left'))
        .addHelpText('after', examples('./部署.sh restore /mnt/backups/livekit-fleet-….tar.zst', './部署.sh restore backup.tar.zst --dry-run'))
        .action(
          action((context, archive = '') => {
            const { dryRun, alone } = optionsOf<{ dryRun?: boolean; alone?: boolean }>(command);
            return restore(context, archive, { ...wayOptions(command), isDryRun: dryRun === true, isAlone: alone === true });
          }),
        );
      withWay(command, say);
    },
    bundle(program) {
      const command: Command = program
        .command('bundle [out]')
        .description(say('制作离线包：一个文件，在没有网络的机器上部署', 'make one archive that deploys on machines without network'))
        .option('--force', say('覆盖已有的文件', 'overwrite a file that is there'))
        .option('--dry-run', say('只显示内容与位置', 'only show what would be packed, and where to'))
        .addHelpText('after', examples('./部署.sh bundle', './部署.sh bundle /media/usb/', './部署.sh bundle livekit-fleet.tar.gz --force --json'))
        .action(
          action((context, out) => {
            const given = optionsOf<{ force?: boolean; dryRun?: boolean }>(command);
            return bundle(context, { out, isForced: given.force === true, isDryRun: given.dryRun === true });
          }),
        );
    },
  };
}

/** @throws FleetError OPTION_NEEDS where one of these was given */
function refuse(given: BackupWords, names: ReadonlyArray<keyof BackupWords>, other: string): void {
  for (const name of names)
    if (given[name] !== undefined) throw new FleetError('OPTION_NEEDS', { option: name === 'dryRun' ? '--dry-run' : `--${name}`, other }, { exitCode: 2 });
}
